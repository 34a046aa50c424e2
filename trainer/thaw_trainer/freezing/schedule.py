"""A freezing schedule as phases: presets written out, selectors resolved to tensors before training starts."""

from dataclasses import dataclass, field
from math import ceil

from thaw_api.freezing import FreezingSpec, PhaseLrSpec, PhaseSpec, UntilSpec
from thaw_api.training import TrainingSpec
from thaw_trainer.errors import NOTHING_TO_TRAIN, SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.selectors import select

_FIELD = "spec.freezing.phases"


@dataclass(frozen=True)
class Phase:
    """One resolved phase: the tensors that are trained, everything else is frozen."""

    name: str
    train: frozenset[str]
    until: UntilSpec
    lr: dict[str, float] = field(repr=False)
    """Peak learning rate of each trained tensor."""
    restore_best: bool = False


def resolve_schedule(freezing: FreezingSpec, training: TrainingSpec, layout: Layout) -> tuple[Phase, ...]:
    """The phases of a run.

    Raises:
        TrainerError: SelectorMatchesNothing, NothingToTrain or ScheduleInvalid, with the field's path.
    """
    specs = freezing.phases or preset_phases(freezing, layout.blocks, training.epochs)
    return tuple(
        _resolve(spec, spec.lr or freezing.lr or PhaseLrSpec(), f"{_FIELD}[{index}]", training, layout)
        for index, spec in enumerate(specs)
    )


def preset_phases(freezing: FreezingSpec, blocks: int, epochs: int) -> list[PhaseSpec]:
    """A preset as the phases that a manifest would write.

    Raises:
        TrainerError: ScheduleInvalid, when `depth` is more than the model has blocks.
    """
    depth = freezing.depth
    if depth is not None and depth > blocks:
        raise TrainerError(
            SCHEDULE_INVALID, f"depth {depth} is more than the {blocks} blocks of the model", "spec.freezing.depth"
        )
    if freezing.preset == "head-only":
        return [_to_the_end("head", ["head"])]
    if freezing.preset == "last-n":
        return [_to_the_end("top", ["head", f"blocks[-{depth}:]"])]
    if freezing.preset == "lp-ft":
        return [PhaseSpec(name="head", train=["head"], until=UntilSpec(fraction=0.5)), _to_the_end("all", ["all"])]
    if freezing.preset == "gradual":
        return _gradual(depth, blocks, epochs)
    return [_to_the_end("all", ["all"])]


def schedule_warnings(freezing: FreezingSpec, epochs: int, blocks: int) -> list[str]:
    """What a person who wrote this schedule may not expect of it."""
    if freezing.phases or freezing.preset != "gradual":
        return []
    groups = _groups(freezing.depth, blocks)
    if epochs > groups:
        return []
    does = "only the head is trained" if epochs == 1 else f"they are thawed in {epochs - 1} steps instead of {groups}"
    return [f"freezing.preset gradual has {groups + 1} phases, which do not fit into {epochs} epochs: {does}"]


def _groups(depth: int | None, blocks: int) -> int:
    """Groups that are thawed one after the other: the top blocks, and without a depth the stem too."""
    return blocks + 1 if depth is None else depth


def _gradual(depth: int | None, blocks: int, epochs: int) -> list[PhaseSpec]:
    """One more group of top blocks each epoch (ULMFiT, arXiv 1801.06146); the last phase has what `depth` allows.

    With fewer epochs than groups, groups are joined evenly.
    """
    groups = _groups(depth, blocks)
    steps = min(epochs - 1, groups)
    phases = [PhaseSpec(name="head", train=["head"], until=UntilSpec(epochs=1))]
    for step in range(1, steps + 1):
        reach = ceil(groups * step / steps)
        everything = reach > blocks
        phases.append(
            PhaseSpec(
                name="all" if everything else f"top-{reach}",
                train=["all"] if everything else ["head", f"blocks[-{reach}:]"],
                until=UntilSpec(fraction=1.0) if step == steps else UntilSpec(epochs=1),
            )
        )
    return phases


def _to_the_end(name: str, train: list[str]) -> PhaseSpec:
    return PhaseSpec(name=name, train=train, until=UntilSpec(fraction=1.0))


def _resolve(spec: PhaseSpec, rates: PhaseLrSpec, where: str, training: TrainingSpec, layout: Layout) -> Phase:
    train = select(layout, spec.train, f"{where}.train")
    if not train:
        raise TrainerError(NOTHING_TO_TRAIN, "the selectors take away all that they select", f"{where}.train")
    base = rates.base or training.optimizer.lr
    top = max(layout.place[name] for name in train)
    lr = {name: base / rates.decay ** (top - layout.place[name]) for name in sorted(train)}
    return Phase(spec.name, train, spec.until, lr, bool(spec.restore_best))
