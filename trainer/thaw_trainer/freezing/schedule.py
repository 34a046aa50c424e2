"""A freezing schedule as phases: presets written out, selectors resolved to tensors before training starts."""

from dataclasses import dataclass, field

from thaw_api.freezing import FreezingSpec, PhaseLrSpec, PhaseSpec
from thaw_api.training import ScheduleName, TrainingSpec
from thaw_api.triggers import UntilSpec
from thaw_trainer.errors import NOTHING_TO_TRAIN, SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.adaptive import Adaptive, resolve_adaptive
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.presets import preset_phases, without_head
from thaw_trainer.freezing.rates import phase_rates
from thaw_trainer.freezing.rotation import Rotation, resolve_rotation
from thaw_trainer.freezing.selectors import select

_FIELD = "spec.freezing.phases"


@dataclass(frozen=True)
class Phase:
    """One resolved phase: the tensors that are trained, everything else is frozen."""

    name: str
    train: frozenset[str]
    """What some turn of the phase trains; without a rotation, what it trains all the time."""
    until: UntilSpec
    lr: dict[str, float] = field(repr=False)
    """Peak learning rate of each tensor of `train`."""
    restore_best: bool = False
    rotation: Rotation | None = None
    adaptive: Adaptive | None = None
    schedule: ScheduleName | None = None
    """Shape of the rate over this phase alone; None: the run's."""
    warmup: float | None = None
    weight_decay: float | None = None
    fresh: bool = False
    """Whether moments start anew with the phase, and with what a rotation brings in."""

    def trained_in(self, turn: int) -> frozenset[str]:
        """What is trained in a turn of the phase's rotation, or once `turn` places are frozen adaptively."""
        if self.adaptive:
            return self.train.difference(*self.adaptive.places[:turn])
        return self.rotation.trained_in(turn) if self.rotation else self.train

    def with_moments(self, turn: int) -> frozenset[str]:
        """Tensors whose moments are held in a turn: a rotation that keeps them waits for what it has taken out."""
        return self.train if self.rotation and not self.fresh else self.trained_in(turn)


def resolve_schedule(freezing: FreezingSpec, training: TrainingSpec, layout: Layout) -> tuple[Phase, ...]:
    """The phases of a run.

    Raises:
        TrainerError: SelectorMatchesNothing, NothingToTrain or ScheduleInvalid, with the field's path.
    """
    specs = phase_specs(freezing, training, layout)
    phases = tuple(_resolve(spec, freezing, f"{_FIELD}[{index}]", training, layout) for index, spec in enumerate(specs))
    if freezing.lr is not None:
        _check_groups_of_preset(freezing.lr, phases, layout)
    return phases


def phase_specs(freezing: FreezingSpec, training: TrainingSpec, layout: Layout) -> list[PhaseSpec]:
    """The phases as a manifest writes them, a preset's too."""
    if freezing.phases:
        return freezing.phases
    phases = preset_phases(freezing, layout.blocks, training.epochs, has_stem=bool(layout.names(-1, -1)))
    has_head = bool(layout.names(layout.blocks, layout.blocks))
    return phases if has_head else without_head(phases)


def _resolve(spec: PhaseSpec, freezing: FreezingSpec, where: str, training: TrainingSpec, layout: Layout) -> Phase:
    train = select(layout, spec.train, f"{where}.train")
    if not train:
        raise TrainerError(NOTHING_TO_TRAIN, "the selectors take away all that they select", f"{where}.train")
    rates = freezing.lr or spec.lr or PhaseLrSpec()
    of_preset = freezing.phases is None
    field_of_rates = "spec.freezing.lr" if of_preset else f"{where}.lr"
    return Phase(
        name=spec.name,
        train=train,
        until=spec.until,
        lr=phase_rates(rates, training.optimizer.lr, train, layout, field_of_rates, every_group=not of_preset),
        restore_best=bool(spec.restore_best),
        rotation=resolve_rotation(spec.rotate, train, layout, training.seed, f"{where}.rotate")
        if spec.rotate
        else None,
        adaptive=resolve_adaptive(spec.adaptive, train, layout, f"{where}.adaptive") if spec.adaptive else None,
        schedule=spec.schedule,
        warmup=spec.warmup,
        weight_decay=spec.weight_decay,
        fresh=spec.optimizer_state == "fresh",
    )


def _check_groups_of_preset(rates: PhaseLrSpec, phases: tuple[Phase, ...], layout: Layout) -> None:
    """A preset's phases share its groups: each must select something that some phase trains."""
    trained = frozenset[str]().union(*(phase.train for phase in phases))
    for index, group in enumerate(rates.groups or ()):
        where = f"spec.freezing.lr.groups[{index}].select"
        if not select(layout, group.select, where) & trained:
            raise TrainerError(SCHEDULE_INVALID, "selects no tensor that a phase trains", where)
