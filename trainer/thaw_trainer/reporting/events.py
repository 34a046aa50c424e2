"""What happens in a run, as values that observers are told: the console, and a cluster's status."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from thaw_trainer.search.journal import TrialRecord


@dataclass(frozen=True)
class RunStarted:
    """A run begins; `records` are the trials of earlier runs into the same folder."""

    trials: int
    epochs: int
    metric: str
    mode: str
    records: tuple["TrialRecord", ...] = ()


@dataclass(frozen=True)
class DataPrepared:
    """The rows are ready."""

    counts: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class SearchStarted:
    """The search begins, or goes on with `finished` trials done by an earlier run."""

    trials: int
    slots: int
    workers: int
    threads: int
    finished: int
    interrupted: int
    metric: str
    mode: str
    epochs: int
    records: tuple["TrialRecord", ...] = ()
    """Every trial of earlier runs, as this one takes it on."""


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins, or goes on from its checkpoint."""

    record: "TrialRecord"


@dataclass(frozen=True)
class EpochEnded:
    """A trial has trained an epoch."""

    record: "TrialRecord"
    report: dict[str, Any]


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over."""

    record: "TrialRecord"


@dataclass(frozen=True)
class Refined:
    """Trials were averaged, or the best one trained once more; `told` is what result.json has of it."""

    told: dict[str, Any]


@dataclass(frozen=True)
class BestTested:
    """The best trial was measured on the test rows."""

    metrics: dict[str, float]
    rows: int


Event: TypeAlias = (
    RunStarted | DataPrepared | SearchStarted | TrialStarted | EpochEnded | TrialEnded | Refined | BestTested
)
Observer: TypeAlias = Callable[[Event], None]
