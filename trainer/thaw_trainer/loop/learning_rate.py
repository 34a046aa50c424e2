"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler's state."""

from collections.abc import Callable
from math import cos, pi

from thaw_api.training import ScheduleName, ScheduleSpec
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length, longest

_SLANTED_RATIO = 32
"""How much lower than its peak ULMFiT's rate begins."""


def rate_factor(schedule: ScheduleSpec, step: int, steps: int) -> float:
    """What the peak rate is multiplied by in step `step` (from 0) of a span of `steps` steps.

    Warm-up climbs linearly and reaches 1 in its last step; linear and cosine then fall towards 0, which the step
    after the span's last would have.
    """
    return _shape(schedule.name, step, steps, round(schedule.warmup * steps))


def phase_factor(schedule: ScheduleSpec, phase: Phase, began: int, length: Length) -> Callable[[int], float]:
    """What a phase's peak rates are multiplied by, as a function of the optimizer steps since the run's start.

    Args:
        schedule: the run's.
        began: the step that the phase began at.
    """
    most = longest(phase.until, began, length)
    warmup = _steps_of(phase.warmup or 0.0, most)
    if phase.schedule is None and schedule.span == "run":
        return lambda step: rate_factor(schedule, step, length.steps) * _climb(step - began, warmup)
    if phase.warmup is None:
        warmup = round(schedule.warmup * most)
    return lambda step: _shape(phase.schedule or schedule.name, step - began, most, warmup)


def _steps_of(warmup: float, steps: int) -> int:
    """A warm-up in steps: below 1 it is a share."""
    return round(warmup * steps) if warmup < 1 else round(warmup)


def _climb(step: int, warmup: int) -> float:
    return (step + 1) / warmup if step < warmup else 1.0


def _shape(name: ScheduleName, step: int, steps: int, warmup: int) -> float:
    done = (step - warmup) / max(1, steps - warmup)
    if name == "slanted-triangular":
        # Equation 3 of arXiv 1801.06146: the cut is the warm-up's end.
        height = step / warmup if step < warmup else 1.0 - min(1.0, done)
        return (1.0 + height * (_SLANTED_RATIO - 1)) / _SLANTED_RATIO
    if step < warmup:
        return _climb(step, warmup)
    if name == "linear":
        return max(0.0, 1.0 - done)
    if name == "cosine":
        return 0.5 * (1.0 + cos(pi * min(1.0, done)))
    return 1.0
