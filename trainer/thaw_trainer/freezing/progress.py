"""Where a run stands in its schedule, and what follows after each epoch: states as data, no I/O."""

from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

from thaw_api.freezing import PlateauSpec, UntilSpec
from thaw_api.tasks import Mode
from thaw_api.training import EarlyStoppingSpec
from thaw_trainer.freezing.schedule import Phase

Move = Literal["continue", "next-phase", "end"]


@dataclass(frozen=True)
class Watch:
    """A metric's best value and the epochs since it last improved."""

    best: float | None = None
    stale: int = 0

    def after(self, value: float, mode: Mode, min_delta: float = 0.0) -> "Watch":
        """The watch after one more value; NaN never improves."""
        if self.best is None:
            return Watch(value if value == value else None, 0 if value == value else self.stale + 1)
        gain = value - self.best if mode == "max" else self.best - value
        return Watch(value, 0) if gain > min_delta else Watch(self.best, self.stale + 1)


@dataclass(frozen=True)
class Progress:
    """Epochs done, in all and in this phase, and what the triggers watch."""

    epoch: int = 0
    phase: int = 0
    phase_epoch: int = 0
    best_epoch: int = 0
    objective: Watch = Watch()
    plateau: Watch = Watch()
    stopping: Watch = Watch()

    def as_dict(self) -> dict[str, Any]:
        """The progress as JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Progress":
        """The inverse of `as_dict`."""
        watches = {name: Watch(**data[name]) for name in ("objective", "plateau", "stopping")}
        return Progress(**(data | watches))


@dataclass(frozen=True)
class Plan:
    """What decides the moves: the phases, the cap on epochs, the objective and early stopping."""

    phases: tuple[Phase, ...]
    epochs: int
    metric: str
    mode: Mode
    modes: dict[str, Mode]
    """The better direction of every metric."""
    early_stopping: EarlyStoppingSpec | None = None


def after_epoch(progress: Progress, metrics: dict[str, float], plan: Plan) -> tuple[Progress, Move]:
    """The progress after one more epoch with these validation metrics, and what to do next.

    A phase ends at the first of its triggers that holds. Early stopping acts in the last phase only; its count and a
    plateau's start anew at each boundary.
    """
    phase = plan.phases[progress.phase]
    last_phase = progress.phase == len(plan.phases) - 1
    objective = progress.objective.after(metrics[plan.metric], plan.mode)
    now = replace(
        progress,
        epoch=progress.epoch + 1,
        phase_epoch=progress.phase_epoch + 1,
        objective=objective,
        best_epoch=progress.epoch + 1 if objective.stale == 0 else progress.best_epoch,
        plateau=_watch(progress.plateau, phase.until.plateau, metrics, plan),
        stopping=_watch(progress.stopping, plan.early_stopping, metrics, plan) if last_phase else Watch(),
    )
    if now.epoch >= plan.epochs:
        return now, "end"
    if last_phase and plan.early_stopping and now.stopping.stale >= plan.early_stopping.patience:
        return now, "end"
    if not _phase_is_over(now, phase, plan.epochs):
        return now, "continue"
    if last_phase:
        return now, "end"
    return replace(now, phase=now.phase + 1, phase_epoch=0, plateau=Watch(), stopping=Watch()), "next-phase"


def _watch(watch: Watch, spec: PlateauSpec | EarlyStoppingSpec | None, metrics: dict[str, float], plan: Plan) -> Watch:
    if spec is None:
        return watch
    metric = spec.metric or plan.metric
    mode = plan.mode if metric == plan.metric else plan.modes[metric]
    return watch.after(metrics[metric], mode, spec.min_delta)


def _phase_is_over(now: Progress, phase: Phase, epochs: int) -> bool:
    until = phase.until
    return (
        (until.epochs is not None and now.phase_epoch >= until.epochs)
        or (until.fraction is not None and now.epoch >= _epochs_of(until.fraction, epochs))
        or (until.plateau is not None and now.plateau.stale >= until.plateau.patience)
    )


def longest_phase(until: UntilSpec, start: int, epochs: int) -> int:
    """Epochs that a phase lasts at most when it begins after epoch `start` of a cap of `epochs`; at least 1."""
    ends = [epochs]
    if until.epochs is not None:
        ends.append(start + until.epochs)
    if until.fraction is not None:
        ends.append(_epochs_of(until.fraction, epochs))
    return max(1, min(ends) - start)


def _epochs_of(fraction: float, epochs: int) -> int:
    # 0.1 * 30 is a hair above 3: rounded first, or the phase would last an epoch more.
    return ceil(round(fraction * epochs, 9))
