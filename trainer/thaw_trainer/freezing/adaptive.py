"""Freezing driven by gradients: the lowest places stand still once their gradients hardly change (AutoFreeze).

AutoFreeze (arXiv 2102.01386) sums the gradients of an interval, compares the norm of each block's sum with that of the
interval before, and freezes the lowest blocks whose change is within a percentile of all that are still trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from thaw_api.freezing import AdaptiveSpec, IntervalSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout


@dataclass(frozen=True)
class Adaptive:
    """Adaptive freezing resolved against a model."""

    places: tuple[frozenset[str], ...] = field(repr=False)
    """The phase's tensors of each place below the head, from the bottom up."""
    rest: bool
    """Whether the phase trains the head too, which is never frozen."""
    percentile: float
    every: IntervalSpec

    def frozen_after(self, frozen: int, before: Sequence[float], now: Sequence[float]) -> int:
        """How many of the lowest places are frozen after an interval.

        Args:
            frozen: how many were.
            before, now: norm of each place's summed gradient in the last two intervals.
        """
        changes = [_change(was, norm) for was, norm in zip(before, now, strict=True)][frozen:]
        most = len(self.places) - (0 if self.rest else 1)
        if not changes or frozen >= most:
            return frozen
        bound = float(np.percentile(changes, self.percentile, method="lower"))
        still = next((index for index, change in enumerate(changes) if change > bound), len(changes))
        return min(frozen + still, most)


def _change(before: float, now: float) -> float:
    if before > 0:
        return abs(before - now) / before
    return inf if now > 0 else 0.0


def resolve_adaptive(spec: AdaptiveSpec, train: frozenset[str], layout: Layout, where: str) -> Adaptive:
    """Adaptive freezing of a phase that begins with the tensors `train`.

    Args:
        where: path of `spec`, for errors.

    Raises:
        TrainerError: ScheduleInvalid: nothing below the head is trained.
    """
    numbers = sorted({layout.place[name] for name in train} - {layout.blocks})
    if not numbers:
        raise TrainerError(SCHEDULE_INVALID, "the phase trains nothing below the head that could be frozen", where)
    places = tuple(frozenset(name for name in train if layout.place[name] == number) for number in numbers)
    return Adaptive(places, train > frozenset().union(*places), spec.percentile, spec.every)
