"""Peak learning rates inside a phase: by height in the model, and by name."""

from thaw_api.freezing import PhaseLrSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.selectors import select


def phase_rates(
    rates: PhaseLrSpec, run_rate: float, train: frozenset[str], layout: Layout, where: str, every_group: bool = True
) -> dict[str, float]:
    """The peak rate of each trained tensor.

    What stands highest has `base`, or else `run_rate`; below it the rate falls by `decay` from place to place, or
    geometrically down to `lowest`. Tensors of a group have the group's rate.

    Args:
        where: path of `rates`, for errors.
        every_group: whether each group must select something that is trained.

    Raises:
        TrainerError: ScheduleInvalid: two groups share a tensor, or a group selects nothing trained;
            SelectorMatchesNothing.
    """
    base = rates.base or run_rate
    top, bottom = (pick(layout.place[name] for name in train) for pick in (max, min))
    fall = rates.decay
    if rates.lowest is not None and top > bottom:
        fall = (base / rates.lowest) ** (1 / (top - bottom))
    by_name = {name: base / fall ** (top - layout.place[name]) for name in sorted(train)}
    return by_name | _group_rates(rates, train, layout, where, every_group)


def _group_rates(
    rates: PhaseLrSpec, train: frozenset[str], layout: Layout, where: str, every_group: bool
) -> dict[str, float]:
    found: dict[str, float] = {}
    for index, group in enumerate(rates.groups or ()):
        field = f"{where}.groups[{index}].select"
        names = select(layout, group.select, field) & train
        if not names and every_group:
            raise TrainerError(SCHEDULE_INVALID, "selects no tensor that the phase trains", field)
        shared = sorted(names & found.keys())
        if shared:
            raise TrainerError(
                SCHEDULE_INVALID, f"overlapping rates: {shared[0]} is in a group before this one too", field
            )
        found |= dict.fromkeys(names, group.base)
    return found
