"""What is wrong with a freezing schedule by itself: it needs neither model nor data to be told."""

from collections.abc import Iterator
from math import ceil

from thaw_api.field_error import FieldError
from thaw_api.freezing import PhaseLrSpec
from thaw_api.job import FineTuneJobSpec
from thaw_api.triggers import ConditionSpec, TriggerFields, UntilSpec


def epochs_of(fraction: float, epochs: int) -> int:
    """The whole epochs that a share of all epochs ends with."""
    # 0.1 * 30 is a hair above 3: rounded first, or it would be an epoch more.
    return ceil(round(fraction * epochs, 9))


def schedule_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Phases that begin after their own end, and rates whose lowest is not the lowest."""
    return [*_late_fractions(spec), *_rates_upside_down(spec)]


def choosing_metrics(spec: FineTuneJobSpec) -> list[tuple[str, str | None]]:
    """The path and name of every metric that something is chosen by while trials train; a name is None where the task
    decides."""
    stopping = spec.training.early_stopping
    return [
        ("spec.search.objective.metric", spec.search.objective.metric),
        *([("spec.training.earlyStopping.metric", stopping.metric)] if stopping else []),
        *watched_metrics(spec),
    ]


def watched_metrics(spec: FineTuneJobSpec) -> list[tuple[str, str | None]]:
    """The path and name of every metric that a trigger watches."""
    return [
        named
        for index, phase in enumerate(spec.freezing.phases or ())
        for where, trigger in _triggers(phase.until, f"spec.freezing.phases[{index}].until")
        for named in (
            (f"{where}.plateau.metric", trigger.plateau.metric if trigger.plateau else None),
            (f"{where}.metric.name", trigger.metric.name if trigger.metric else None),
        )
    ]


def _triggers(until: UntilSpec, where: str) -> Iterator[tuple[str, TriggerFields]]:
    yield where, until
    for index, condition in enumerate(until.all or ()):
        yield f"{where}.all[{index}]", condition


def _late_fractions(spec: FineTuneJobSpec) -> list[FieldError]:
    errors, begins = [], 0
    cap = spec.training.epochs
    for index, phase in enumerate(spec.freezing.phases or ()):
        fraction = phase.until.fraction
        if fraction is not None and epochs_of(fraction, cap) <= begins < cap:
            message = (
                f"{fraction:g} of {cap} epochs is over before the phase begins: the phases before it take at least "
                f"{begins}"
            )
            errors.append(FieldError(f"spec.freezing.phases[{index}].until.fraction", message))
        begins = _earliest_end(phase.until, begins, cap)
    return errors


def _earliest_end(until: UntilSpec, begins: int, cap: int) -> int:
    """Epochs that are over at least when a phase ends that began after at least `begins`."""
    return min(max(_earliest(condition, begins, cap) for condition in group) for group in until.any_of)


def _earliest(condition: ConditionSpec, begins: int, cap: int) -> int:
    if condition.epochs is not None:
        return begins + condition.epochs
    if condition.fraction is not None:
        return max(begins, epochs_of(condition.fraction, cap))
    if condition.plateau is not None:
        return begins + condition.plateau.patience
    # How many epochs steps are is not known here.
    return begins if condition.steps is not None else begins + 1


def _rates_upside_down(spec: FineTuneJobSpec) -> list[FieldError]:
    rates: list[tuple[str, PhaseLrSpec | None]] = [("spec.freezing.lr", spec.freezing.lr)]
    rates += [(f"spec.freezing.phases[{index}].lr", phase.lr) for index, phase in enumerate(spec.freezing.phases or ())]
    return [
        FieldError(f"{where}.lowest", f"{lr.lowest:g} is above the highest rate, {lr.base or run:g}")
        for run in [spec.training.optimizer.lr]
        for where, lr in rates
        if lr is not None and lr.lowest is not None and lr.lowest > (lr.base or run)
    ]
