"""Presets as the phases that a manifest would write. docs/freezing.md has the source of each."""

from math import ceil
from typing import Any

from thaw_api.freezing import FreezingSpec, IntervalSpec, PhaseLrSpec, PhaseSpec, RotationSpec
from thaw_api.triggers import PlateauSpec, UntilSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError

ULMFIT_DECAY = 2.6
ULMFIT_CUT = 0.1
"""Share of a phase in which ULMFiT's triangle climbs."""
LISA_BLOCKS, LISA_STEPS = 2, 20
BADAM_STEPS = 50


def preset_phases(freezing: FreezingSpec, blocks: int, epochs: int, has_stem: bool = True) -> list[PhaseSpec]:
    """A preset written out.

    Args:
        has_stem: whether the model has tensors below its blocks.

    Raises:
        TrainerError: ScheduleInvalid, when `depth` is more than the model has blocks.
    """
    depth = freezing.depth
    if depth is not None and depth > blocks:
        raise TrainerError(
            SCHEDULE_INVALID, f"depth {depth} is more than the {blocks} blocks of the model", "spec.freezing.depth"
        )
    match freezing.preset:
        case "head-only":
            return [_to_the_end("head", ["head"])]
        case "last-n":
            return [_to_the_end("top", ["head", f"blocks[-{depth}:]"])]
        case "first-n":
            return [_to_the_end("bottom", ["head", f"blocks[:{depth}]"])]
        case "lp-ft":
            return [PhaseSpec(name="head", train=["head"], until=UntilSpec(fraction=0.5)), _to_the_end("all", ["all"])]
        case "gradual":
            return _gradual(depth, blocks, epochs, has_stem)
        case "ulmfit":
            return [phase.model_copy(update=_ulmfit_rates()) for phase in _gradual(depth, blocks, epochs, has_stem)]
        case "chain-thaw":
            return _chain_thaw(blocks, has_stem)
        case "bitfit":
            return [_to_the_end("biases", ["head", "biases"])]
        case "lisa":
            return [_in_turns("lisa", ["all"], depth or min(LISA_BLOCKS, blocks), LISA_STEPS, "random")]
        case "badam":
            return [_in_turns("badam", ["head", "blocks"], depth or 1, BADAM_STEPS, "ascending")]
    return [_to_the_end("all", ["all"])]


def without_head(phases: list[PhaseSpec]) -> list[PhaseSpec]:
    """A preset's phases for a model whose output layer is tied to its embeddings, with nothing else above its blocks: a
    phase of the head alone is left out.

    Raises:
        TrainerError: ScheduleInvalid, when no phase is left.
    """
    found = [
        phase.model_copy(update={"train": train})
        for phase in phases
        if (train := [selector for selector in phase.train if selector != "head"])
    ]
    if not found:
        message = "the model has no head of its own: its output layer is its embeddings'; use last-n"
        raise TrainerError(SCHEDULE_INVALID, message, "spec.freezing.preset")
    return found


def schedule_warnings(freezing: FreezingSpec, epochs: int, blocks: int, has_stem: bool = True) -> list[str]:
    """What a person who wrote this schedule may not expect of it."""
    if freezing.phases:
        return []
    if freezing.preset == "chain-thaw":
        phases = len(_chain_thaw(blocks, has_stem))
        # A plateau shows after two epochs at the earliest.
        least = 2 * (phases - 1) + 1
        return (
            [f"freezing.preset chain-thaw takes {least} epochs to reach all of its phases; there are {epochs}"]
            if epochs < least
            else []
        )
    groups = _groups(freezing.depth, blocks, has_stem)
    if freezing.preset not in ("gradual", "ulmfit") or epochs > groups:
        return []
    does = "only the head is trained" if epochs == 1 else f"they are thawed in {epochs - 1} steps instead of {groups}"
    return [f"freezing.preset {freezing.preset} has {groups + 1} phases, which do not fit into {epochs} epochs: {does}"]


def _groups(depth: int | None, blocks: int, has_stem: bool) -> int:
    """Groups that are thawed one after the other: the top blocks, and without a depth the stem too."""
    return blocks + has_stem if depth is None else depth


def _gradual(depth: int | None, blocks: int, epochs: int, has_stem: bool) -> list[PhaseSpec]:
    """One more group of top blocks each epoch (ULMFiT, arXiv 1801.06146); the last phase has what `depth` allows.

    With fewer epochs than groups, groups are joined evenly.
    """
    groups = _groups(depth, blocks, has_stem)
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


def _ulmfit_rates() -> dict[str, Any]:
    """Each phase has its own triangle, as in the authors' scripts (fastai, imdb_scripts/train_clas.py)."""
    return {"lr": PhaseLrSpec(decay=ULMFIT_DECAY), "schedule": "slanted-triangular", "warmup": ULMFIT_CUT}


def _chain_thaw(blocks: int, has_stem: bool) -> list[PhaseSpec]:
    """The head, then each layer alone from the bottom up, then everything, each until it no longer improves and from
    the best epoch so far (DeepMoji, arXiv 1708.00524)."""
    alone = [("head", "head"), *([("stem", "stem")] if has_stem else [])]
    alone += [(f"block-{number}", f"blocks[{number}]") for number in range(blocks)]
    until = UntilSpec(plateau=PlateauSpec())
    chain = [
        PhaseSpec(name=name, train=[selector], until=until, restore_best=name != "head") for name, selector in alone
    ]
    return [*chain, PhaseSpec(name="all", train=["all"], until=UntilSpec(fraction=1.0), restore_best=True)]


def _in_turns(name: str, train: list[str], blocks: int, steps: int, order: Any) -> PhaseSpec:
    rotate = RotationSpec(blocks=blocks, every=IntervalSpec(steps=steps), order=order)
    phase = _to_the_end(name, train)
    return phase.model_copy(update={"rotate": rotate, "optimizer_state": "fresh"})


def _to_the_end(name: str, train: list[str]) -> PhaseSpec:
    return PhaseSpec(name=name, train=train, until=UntilSpec(fraction=1.0))
