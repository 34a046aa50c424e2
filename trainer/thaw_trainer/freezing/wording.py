"""A phase in words, for plans."""

from thaw_api.freezing import IntervalSpec
from thaw_api.triggers import ConditionSpec, UntilSpec
from thaw_trainer.freezing.rotation import Rotation
from thaw_trainer.freezing.schedule import Phase

_ORDERS = {
    "random": "drawn anew each turn",
    "shuffled": "each once in random order",
    "ascending": "from the bottom up",
    "descending": "from the top down",
}


def until_text(until: UntilSpec) -> str:
    """When a phase ends."""
    return " or ".join(
        " and ".join(_condition(condition) for condition in group) if len(group) == 1 else _together(group)
        for group in until.any_of
    )


def _together(group: tuple[ConditionSpec, ...]) -> str:
    return f"({' and '.join(_condition(condition) for condition in group)})"


def _condition(condition: ConditionSpec) -> str:
    if condition.epochs is not None:
        return counted(condition.epochs, "epoch")
    if condition.steps is not None:
        return counted(condition.steps, "step")
    if condition.fraction is not None:
        return f"{condition.fraction:.0%} of the epochs"
    if condition.plateau is not None:
        metric = f" in {condition.plateau.metric}" if condition.plateau.metric else ""
        return f"no gain{metric} for {counted(condition.plateau.patience, 'epoch')}"
    if condition.metric is not None:
        bound = condition.metric
        beyond = f"above {bound.above:g}" if bound.above is not None else f"below {bound.below:g}"
        return f"{bound.name or 'objective'} {beyond}"
    return f"{condition.time}"


def rotation_text(rotation: Rotation | None) -> str:
    """What a turn trains and how long it lasts; empty without a rotation."""
    if rotation is None:
        return ""
    lasts = _interval(rotation.every)
    always = f"; {counted(len(rotation.always), 'tensor')} in every turn" if rotation.always else ""
    blocks = f"{rotation.at_a_time} of {counted(len(rotation.blocks), 'block')}"
    return f"{blocks}, {_ORDERS[rotation.order]}, {lasts} a turn{always}"


def _interval(every: IntervalSpec) -> str:
    return counted(every.steps, "step") if every.steps is not None else counted(every.epochs or 1, "epoch")


def settings_of(phase: Phase) -> list[str]:
    """What a phase has of its own beside tensors, rates and rotation."""
    found = []
    if phase.adaptive:
        found.append(
            f"freezes its lowest places while their gradients' change is within the {phase.adaptive.percentile:g}th "
            f"percentile, looked at every {_interval(phase.adaptive.every)}"
        )
    if phase.restore_best:
        found.append("from the best epoch so far")
    if phase.schedule:
        found.append(f"rate {phase.schedule} over the phase")
    if phase.warmup is not None:
        share = f"{phase.warmup:.0%} of the phase" if phase.warmup < 1 else counted(round(phase.warmup), "step")
        found.append(f"warm-up {share}")
    if phase.weight_decay is not None:
        found.append(f"weight decay {phase.weight_decay:g}")
    if phase.fresh:
        found.append("fresh moments")
    return found


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}{'s' * (number != 1)}"
