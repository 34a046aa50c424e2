"""Whether a phase's triggers hold, and the steps at which they will.

Epochs, steps and fraction are counted in optimizer steps, so where they hold is known beforehand and may lie within an
epoch. Plateau, metric and time are looked at after an epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from thaw_api.schedule_errors import epochs_of
from thaw_api.triggers import ConditionSpec, UntilSpec
from thaw_trainer.durations import seconds_of


@dataclass(frozen=True)
class Length:
    """The cap on a run's epochs, and the optimizer steps of one."""

    epochs: int
    steps_per_epoch: int = 1

    @property
    def steps(self) -> int:
        """Optimizer steps of the run, at most."""
        return self.epochs * self.steps_per_epoch

    def epoch_end(self, step: int) -> int:
        """The step at which the epoch ends that step number `step` (from 0) is in."""
        return (step // self.steps_per_epoch + 1) * self.steps_per_epoch


@dataclass(frozen=True)
class Now:
    """What conditions are held against after an epoch."""

    step: int
    """Optimizer steps since the run's start."""
    began: int
    """The step that the phase began at."""
    seconds: float
    """How long the phase has trained and been measured."""
    stale: Mapping[str, int]
    """Epochs since the metric of a plateau last improved, by the condition's place."""
    metrics: Mapping[str, float]


def plateaus(until: UntilSpec) -> dict[str, ConditionSpec]:
    """The conditions that watch for a plateau, by their place in `until.any_of`."""
    return {
        f"{group}.{index}": condition
        for group, conditions in enumerate(until.any_of)
        for index, condition in enumerate(conditions)
        if condition.plateau is not None
    }


def is_over(until: UntilSpec, now: Now, length: Length, objective: str) -> bool:
    """Whether the phase is over, looked at after an epoch or at a step that `mid_epoch_end` has named."""
    return any(
        all(_holds(condition, f"{group}.{index}", now, length, objective) for index, condition in enumerate(conditions))
        for group, conditions in enumerate(until.any_of)
    )


def _holds(condition: ConditionSpec, place: str, now: Now, length: Length, objective: str) -> bool:
    end = _end(condition, now.began, length)
    if end is not None:
        return now.step >= end
    if condition.plateau is not None:
        return now.stale[place] >= condition.plateau.patience
    if condition.metric is not None:
        value, bound = now.metrics[condition.metric.name or objective], condition.metric
        return value > bound.above if bound.above is not None else value < (bound.below or 0.0)
    return now.seconds >= seconds_of(condition.time or "")


def counted_end(until: UntilSpec, began: int, length: Length) -> int | None:
    """The first step at which a trigger holds that counts steps only; None: there is no such trigger.

    A phase that begins when its fraction is over already has the rest of its epoch.
    """
    ends = [_last([_end(condition, began, length) for condition in group]) for group in until.any_of]
    known = [end if end > began else length.epoch_end(began) for end in ends if end is not None]
    return min(known, default=None)


def longest(until: UntilSpec, began: int, length: Length) -> int:
    """Optimizer steps that a phase lasts at most when it begins at step `began`, before the run's cap."""
    end = counted_end(until, began, length)
    return (length.steps if end is None else min(end, length.steps)) - began


def _last(ends: list[int | None]) -> int | None:
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None


def _end(condition: ConditionSpec, began: int, length: Length) -> int | None:
    """The step at which a condition that counts steps begins to hold."""
    if condition.steps is not None:
        return began + condition.steps
    if condition.epochs is not None:
        return began + condition.epochs * length.steps_per_epoch
    if condition.fraction is not None:
        return epochs_of(condition.fraction, length.epochs) * length.steps_per_epoch
    return None
