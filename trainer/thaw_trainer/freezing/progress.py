"""Where a run stands in its schedule, and what follows after each epoch: states as data, no I/O."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from thaw_api.tasks import Mode
from thaw_api.training import EarlyStoppingSpec
from thaw_api.triggers import PlateauSpec, UntilSpec
from thaw_trainer.freezing.rotation import steps_of
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length, Now, counted_end, is_over, longest, plateaus

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
    """What is done, in all and in this phase, and what the triggers watch."""

    epoch: int = 0
    step: int = 0
    """Optimizer steps since the run's start."""
    phase: int = 0
    phase_began: int = 0
    """The step that the phase began at."""
    phase_seconds: float = 0.0
    """How long the phase has trained and been measured."""
    best_epoch: int = 0
    objective: Watch = Watch()
    plateaus: dict[str, Watch] = field(default_factory=dict)
    """The phase's plateaus, by the place of their condition."""
    stopping: Watch = Watch()
    frozen: int = 0
    """How many of the phase's lowest places are frozen adaptively."""
    norms: tuple[float, ...] = ()
    """Norm of each place's summed gradient in the last interval; empty before the first has ended."""

    @property
    def phase_step(self) -> int:
        """Optimizer steps since the phase's start."""
        return self.step - self.phase_began

    def as_dict(self) -> dict[str, Any]:
        """The progress as JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Progress":
        """The inverse of `as_dict`."""
        watches = {name: Watch(**data[name]) for name in ("objective", "stopping")}
        watched = {place: Watch(**watch) for place, watch in data["plateaus"].items()}
        return Progress(**(data | watches | {"plateaus": watched, "norms": tuple(data["norms"])}))


@dataclass(frozen=True)
class Plan:
    """What decides the moves: the phases, the run's length, the objective and early stopping."""

    phases: tuple[Phase, ...]
    length: Length
    metric: str
    mode: Mode
    modes: dict[str, Mode]
    """The better direction of every metric."""
    early_stopping: EarlyStoppingSpec | None = None
    keeps_last: bool = False
    """Whether the newest epoch counts as the best, whatever is measured."""

    def phase(self, progress: Progress) -> Phase:
        """The phase that a run is in."""
        return self.phases[progress.phase]

    def turn(self, progress: Progress) -> int:
        """Which part of its phase a run is in, from 0: the rotation's turn, or how many places are frozen."""
        phase = self.phase(progress)
        if phase.adaptive:
            return progress.frozen
        return progress.phase_step // self._interval(phase) if phase.rotation else 0

    def interval_end(self, progress: Progress) -> int | None:
        """The step at which the present turn or adaptive interval ends."""
        phase = self.phase(progress)
        if phase.rotation is None and phase.adaptive is None:
            return None
        interval = self._interval(phase)
        return progress.phase_began + (progress.phase_step // interval + 1) * interval

    def ends_interval(self, progress: Progress) -> bool:
        """Whether an adaptive interval has just ended."""
        phase = self.phase(progress)
        return (
            phase.adaptive is not None and progress.phase_step > 0 and progress.phase_step % self._interval(phase) == 0
        )

    def _interval(self, phase: Phase) -> int:
        part = phase.rotation or phase.adaptive
        assert part is not None
        return steps_of(part.every, self.length.steps_per_epoch)

    def is_in_last_phase(self, progress: Progress) -> bool:
        """Whether no phase follows."""
        return progress.phase == len(self.phases) - 1


def steps_to_go(progress: Progress, plan: Plan) -> int:
    """Optimizer steps until the epoch, the phase or its rotation's turn ends, whichever is first."""
    phase, length = plan.phase(progress), plan.length
    ends = [length.epoch_end(progress.step)]
    end = counted_end(phase.until, progress.phase_began, length)
    if end is not None and end > progress.step:
        ends.append(end)
    interval_end = plan.interval_end(progress)
    if interval_end is not None:
        ends.append(interval_end)
    return min(ends) - progress.step


def after_steps(progress: Progress, steps: int, plan: Plan) -> tuple[Progress, Move]:
    """The progress after `steps` more optimizer steps, at most `steps_to_go`.

    next-phase: the phase has ended in mid-epoch; end: the last phase has. At the end of an epoch it is `after_epoch`
    that decides, once the epoch is measured.
    """
    now = replace(progress, step=progress.step + steps)
    end = counted_end(plan.phase(now).until, now.phase_began, plan.length)
    if now.step % plan.length.steps_per_epoch == 0 or end is None or now.step != end:
        return now, "continue"
    return (now, "end") if plan.is_in_last_phase(now) else (_next_phase(now), "next-phase")


def after_interval(progress: Progress, norms: tuple[float, ...], plan: Plan) -> Progress:
    """The progress after an adaptive interval in which the places' summed gradients had these norms."""
    adaptive = plan.phase(progress).adaptive
    assert adaptive is not None
    frozen = adaptive.frozen_after(progress.frozen, progress.norms, norms) if progress.norms else progress.frozen
    return replace(progress, norms=norms, frozen=frozen)


def after_epoch(
    progress: Progress, metrics: dict[str, float], plan: Plan, seconds: float = 0.0
) -> tuple[Progress, Move]:
    """The progress after an epoch whose steps are done, with these validation metrics, and what to do next.

    A phase ends at the first of its triggers that holds. Early stopping acts in the last phase only; its count and a
    plateau's start anew at each boundary.

    Args:
        seconds: how long the phase has trained and been measured in this epoch.
    """
    phase = plan.phase(progress)
    last_phase = plan.is_in_last_phase(progress)
    objective = progress.objective.after(metrics[plan.metric], plan.mode)
    watched = {
        place: _watch(progress.plateaus.get(place, Watch()), condition.plateau, metrics, plan)
        for place, condition in plateaus(phase.until).items()
    }
    now = replace(
        progress,
        epoch=progress.epoch + 1,
        phase_seconds=progress.phase_seconds + seconds,
        objective=objective,
        best_epoch=progress.epoch + 1 if objective.stale == 0 or plan.keeps_last else progress.best_epoch,
        plateaus=watched,
        stopping=_watch(progress.stopping, plan.early_stopping, metrics, plan) if last_phase else Watch(),
    )
    if now.epoch >= plan.length.epochs:
        return now, "end"
    if last_phase and plan.early_stopping and now.stopping.stale >= plan.early_stopping.patience:
        return now, "end"
    stale = {place: watch.stale for place, watch in watched.items()}
    if not is_over(
        phase.until,
        Now(now.step, now.phase_began, now.phase_seconds, stale, metrics),
        plan.length,
        plan.metric,
    ):
        return now, "continue"
    return (now, "end") if last_phase else (_next_phase(now), "next-phase")


def _next_phase(now: Progress) -> Progress:
    return replace(
        now,
        phase=now.phase + 1,
        phase_began=now.step,
        phase_seconds=0.0,
        plateaus={},
        stopping=Watch(),
        frozen=0,
        norms=(),
    )


def _watch(watch: Watch, spec: PlateauSpec | EarlyStoppingSpec | None, metrics: dict[str, float], plan: Plan) -> Watch:
    if spec is None:
        return watch
    metric = spec.metric or plan.metric
    mode = plan.mode if metric == plan.metric else plan.modes[metric]
    return watch.after(metrics[metric], mode, spec.min_delta)


def longest_phase(until: UntilSpec, start: int, epochs: int, steps_per_epoch: int = 1) -> int:
    """Epochs, a begun one included, that a phase lasts at most when it begins after epoch `start` of a cap of `epochs`.

    Without `steps_per_epoch` each of the phase's steps counts as an epoch, which is no less.
    """
    steps = longest(until, start * steps_per_epoch, Length(epochs, steps_per_epoch))
    return -(-steps // steps_per_epoch)
