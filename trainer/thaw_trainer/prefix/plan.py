"""What a job expects of the cache: which boundaries its schedules have, and how often each is passed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from thaw_api.freezing import CacheSpec
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length, longest
from thaw_trainer.prefix.cut import boundary_of

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


@dataclass(frozen=True)
class PrefixPlan:
    """Known before the search; the same for all trials of a model."""

    mode: Literal["auto", "always", "never"]
    budget: int
    """Bytes that all entries of a machine may take."""
    passes: dict[int, int]
    """Boundary -> expected passes over a split's rows, by all trials together."""
    heads_only: bool = False
    """Whether every schedule has one phase, which trains the head."""

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "PrefixPlan":
        """The inverse of `asdict`, through JSON or not."""
        passes = {int(key): value for key, value in data["passes"].items()}
        return PrefixPlan(data["mode"], data["budget"], passes, data.get("heads_only", False))


def plan_prefix(
    cache: CacheSpec | None,
    schedules: Sequence[tuple[Sequence[Phase], int]],
    layout: Layout,
    trials: int,
    steps_per_epoch: int = 1,
) -> PrefixPlan:
    """The plan for a search whose trials have these schedules, each as often as the others.

    Args:
        schedules: phases of each schedule that the search may try, and its cap of epochs.
    """
    cache = cache or CacheSpec()
    passes: dict[int, float] = {}
    for phases, epochs in schedules:
        begun, length = 0, Length(epochs, steps_per_epoch)
        for phase in phases:
            steps = longest(phase.until, begun, length)
            begun += steps
            boundary = boundary_of(layout, phase.train)
            if boundary >= 1:
                passed = steps / steps_per_epoch * trials / len(schedules)
                passes[boundary] = passes.get(boundary, 0) + passed
            if begun >= length.steps:
                break
    whole = {boundary: max(1, round(count)) for boundary, count in sorted(passes.items())}
    if cache.mode == "never":
        whole = {}
    heads_only = set(whole) == {layout.blocks} and all(len(phases) == 1 for phases, _ in schedules)
    return PrefixPlan(cache.mode, bytes_of(cache.budget), whole, heads_only)


def bytes_of(quantity: str) -> int:
    """A Kubernetes quantity of bytes, such as 10Gi."""
    match = re.fullmatch(r"([0-9]+)([A-Za-z]*)", quantity)
    assert match is not None, "the schema has checked it"
    return int(match[1]) * _UNITS[match[2]]
