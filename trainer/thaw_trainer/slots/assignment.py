"""What a gang is given to do."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

FINAL = -1
"""The ordinal of the assignment that tests and exports the best trial."""
REFINEMENT = -2
"""The ordinal of the assignment that averages the best trials, or trains the best one once more."""


@dataclass(frozen=True)
class Assignment:
    """One trial to train, several to average, or the best one to test and export."""

    kind: Literal["trial", "soup", "final"]
    trial: int
    """The trial's ordinal in the search."""
    spec: dict[str, Any]
    """The trial's own spec as a manifest writes it."""
    store: str
    """Folder of the prepared store."""
    folder: str
    """Folder of the trial's checkpoints."""
    reported: int = 0
    """Epochs that the search knows of already."""
    attempt: int = 0
    prefix: dict[str, Any] = field(default_factory=dict)
    """trial: a PrefixPlan."""
    companions: dict[int, dict[str, Any]] = field(default_factory=dict)
    """trial: ordinals and specs of later trials, which this gang may train along and is then to be given."""
    first_phase: str = ""
    """trial: where trials with the same first phase share its checkpoint; empty: there is no other such trial."""
    keeps_last: bool = False
    """trial: its last epoch is the one to keep, whatever is measured."""
    members: tuple[dict[str, Any], ...] = ()
    """soup: see `greedy_soup`."""
    best_epoch: int = 0
    """final: the epoch whose tensors are tested."""
    output: str = ""
    """final: where model and predictions go."""
    trained_on_validation: bool = False
    """final: the validation rows say nothing of the model."""

    def again(self, reported: int) -> "Assignment":
        """The same work for another gang, after this one's was lost."""
        return replace(self, attempt=self.attempt + 1, reported=reported)
