"""`until` of a freezing phase: when it ends."""

from functools import cached_property
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from thaw_api.schema_model import CelRule, SchemaModel, ShortText, UnionModel

PhaseTime = Annotated[
    str,
    StringConstraints(max_length=32, pattern=r"^[1-9][0-9]*(h([0-9]+m)?([0-9]+s)?|m([0-9]+s)?|s)$"),
]
"""A duration above zero."""

_TRIGGERS = ("epochs", "steps", "fraction", "plateau", "metric", "time")
_NO_TRIGGER = "a phase needs a trigger: epochs, steps, fraction, plateau, metric, time or all"
_ONE_TRIGGER = "an entry of all is exactly one of epochs, steps, fraction, plateau, metric, time"
_ONE_BOUND = "metric needs exactly one of above and below"


class PlateauSpec(SchemaModel):
    """Holds when a metric has not improved for a while; it counts anew in each phase."""

    metric: ShortText | None = None
    """The metric watched; absent: the search's objective."""
    patience: int = Field(default=1, ge=1, le=1000)
    """Epochs without improvement."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smallest change that counts as an improvement."""


class ThresholdSpec(SchemaModel):
    """Holds when a metric of the validation rows is beyond a value after an epoch."""

    name: ShortText | None = None
    """The metric; absent: the search's objective."""
    above: float | None = None
    """Holds when the metric is greater."""
    below: float | None = None
    """Holds when the metric is less."""

    cel_rules = (CelRule("has(self.above) != has(self.below)", _ONE_BOUND),)

    @model_validator(mode="after")
    def _has_one_bound(self) -> "ThresholdSpec":
        if (self.above is None) == (self.below is None):
            raise ValueError(_ONE_BOUND)
        return self


class TriggerFields(SchemaModel):
    """The triggers by name."""

    epochs: int | None = Field(default=None, ge=1, le=100000)
    """After as many optimizer steps of the phase as this many epochs have."""
    steps: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """After this many optimizer steps of the phase; it may end in mid-epoch."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """When this share of `training.epochs` is over, counted from the run's start."""
    plateau: PlateauSpec | None = None
    """When a metric no longer improves; looked at after each epoch."""
    metric: ThresholdSpec | None = None
    """When a metric is beyond a value; looked at after each epoch."""
    time: PhaseTime | None = None
    """When the phase has trained and been measured for this long, such as 90s or 1h30m; looked at after each epoch."""


class ConditionSpec(TriggerFields, UnionModel):
    """One trigger."""

    cel_rules = (CelRule(f"{' + '.join(f'(has(self.{name}) ? 1 : 0)' for name in _TRIGGERS)} == 1", _ONE_TRIGGER),)

    @model_validator(mode="after")
    def _is_one_trigger(self) -> "ConditionSpec":
        if len(_set(self)) != 1:
            raise ValueError(_ONE_TRIGGER)
        return self


class UntilSpec(TriggerFields):
    """When a phase ends: as soon as one of its triggers holds."""

    all: list[ConditionSpec] | None = Field(default=None, min_length=1, max_length=8)
    """A trigger that holds when all of these do."""

    cel_rules = (CelRule(" || ".join(f"has(self.{name})" for name in (*_TRIGGERS, "all")), _NO_TRIGGER),)

    @model_validator(mode="after")
    def _has_a_trigger(self) -> "UntilSpec":
        if not _set(self) and self.all is None:
            raise ValueError(_NO_TRIGGER)
        return self

    @cached_property
    def any_of(self) -> tuple[tuple[ConditionSpec, ...], ...]:
        """The phase is over when, in one of these groups, every condition holds."""
        alone = tuple((ConditionSpec(**{name: getattr(self, name)}),) for name in _set(self))
        return (*alone, *((tuple(self.all),) if self.all else ()))


def _set(triggers: TriggerFields) -> list[str]:
    return [name for name in _TRIGGERS if getattr(triggers, name) is not None]
