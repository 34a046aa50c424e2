"""`spec.search`: which values are tried, how they are chosen and when a trial is given up."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from thaw_api.schema_model import CelRule, Scalar, SchemaModel, ShortText, UnionModel

SEARCHABLE = (
    r"^(training|freezing|model\.(head|adapter|uri)|data\.(features|augment|batching))"
    r"(\.[A-Za-z][A-Za-z0-9]*|\[[0-9]+\])*$"
)
ParameterPath = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=SEARCHABLE)]
DurationText = Annotated[
    str, StringConstraints(min_length=2, max_length=32, pattern=r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$")
]
RunUri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^file:[^#\s]+$")]
_WARM_NEEDS_TPE = "warmStart needs algorithm tpe: the others learn nothing from earlier trials"
_WARM_NEEDS_PARAMETERS = "warmStart needs parameters: without any there is nothing to know"
_SOUP_OR_REFIT = "soup and refit exclude each other: one averages trials, the other trains the best one anew"
_MIN_BELOW_MAX = CelRule("self.min < self.max", "min must be below max")


class UniformRange(SchemaModel):
    """Any number between two bounds, each as likely."""

    min: float
    """Lowest value."""
    max: float
    """Highest value."""

    cel_rules = (_MIN_BELOW_MAX,)

    @model_validator(mode="after")
    def _min_below_max(self) -> "UniformRange":
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class LogUniformRange(UniformRange):
    """Any number between two bounds, each order of magnitude as likely."""

    min: float = Field(gt=0)
    """Lowest value, above zero."""
    max: float = Field(gt=0)
    """Highest value."""


class IntRange(SchemaModel):
    """A whole number between two bounds, both included."""

    min: int = Field(ge=-(2**31), le=2**31 - 1)
    """Lowest value."""
    max: int = Field(ge=-(2**31), le=2**31 - 1)
    """Highest value."""
    step: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Distance between two values; absent: 1."""

    cel_rules = (_MIN_BELOW_MAX,)

    @model_validator(mode="after")
    def _min_below_max(self) -> "IntRange":
        if self.min >= self.max:
            raise ValueError("min must be below max")
        return self


class Choice(SchemaModel):
    """One of a list of values."""

    values: list[Scalar] = Field(min_length=1, max_length=64)
    """The values."""


class ParameterSpec(UnionModel):
    """One searched path and the values that it may take."""

    shared_fields: ClassVar[int] = 1

    path: ParameterPath
    """Path of a scalar of this spec, such as training.optimizer.lr or freezing.phases[1].train[0]."""
    uniform: UniformRange | None = None
    """Any number between two bounds."""
    log_uniform: LogUniformRange | None = None
    """Any number between two bounds, on a logarithmic scale."""
    int: IntRange | None = None
    """A whole number between two bounds."""
    choice: Choice | None = None
    """One of a list of values."""

    cel_rules = (
        CelRule(
            "(has(self.uniform) ? 1 : 0) + (has(self.logUniform) ? 1 : 0) + (has(self.int) ? 1 : 0)"
            " + (has(self.choice) ? 1 : 0) == 1",
            "a parameter needs exactly one of uniform, logUniform, int, choice",
        ),
    )

    @model_validator(mode="after")
    def _has_one_arm(self) -> "ParameterSpec":
        if sum(arm is not None for arm in (self.uniform, self.log_uniform, self.int, self.choice)) != 1:
            raise ValueError("a parameter needs exactly one of uniform, logUniform, int, choice")
        return self


class ObjectiveSpec(SchemaModel):
    """What trials and epochs are compared by."""

    metric: ShortText | None = None
    """A metric of the task, on the validation rows; absent: the task's own."""
    mode: Literal["max", "min"] | None = None
    """Whether more is better; absent: what the metric means."""


class AlgorithmSpec(SchemaModel):
    """How the next trial's values are chosen."""

    name: Literal["grid", "random", "tpe", "gp"] = "random"
    """grid: every combination of choices; random; tpe: Optuna's tree-structured Parzen estimator; gp."""


class SchedulerSpec(SchemaModel):
    """When a trial is given up early."""

    name: Literal["none", "asha", "median", "pbt"] = "none"
    """none: never; asha: asynchronous successive halving (arXiv 1810.05934); median; pbt."""
    grace_epochs: int | None = Field(default=None, ge=1, le=100000)
    """Epochs that every trial gets; absent: as many as the first freezing phase, at least 1."""
    reduction_factor: int = Field(default=3, ge=2, le=16)
    """asha keeps the best 1 of this many at each rung."""


class SearchSpec(SchemaModel):
    """The search over hyperparameters; without parameters, one trial with the spec's own values."""

    objective: ObjectiveSpec = Field(default_factory=ObjectiveSpec)
    """What trials are compared by."""
    algorithm: AlgorithmSpec = Field(default_factory=AlgorithmSpec)
    """How values are chosen."""
    scheduler: SchedulerSpec = Field(default_factory=SchedulerSpec)
    """When a trial is given up."""
    trials: int | None = Field(default=None, ge=1, le=10000)
    """Trials at most; absent: 1 without parameters, every combination for grid, else 10."""
    parallel: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Trials at a time; auto: what the machine or the cluster has room for."""
    time_budget: DurationText | None = None
    """Time after which no trial is started or continued, such as 2h or 90m."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the choice of values."""
    parameters: list[ParameterSpec] | None = Field(default=None, max_length=32)
    """The searched paths."""
    warm_start: list[RunUri] | None = Field(default=None, min_length=1, max_length=16)
    """Folders of earlier runs (file:) with the same parameters and objective: the search knows what their trials came
    to. With algorithm tpe only: the others learn nothing."""
    soup: int | None = Field(default=None, ge=2, le=64)
    """The weights of so many of the best trials are averaged, one after the other as long as validation gets better
    by it (greedy model soup, arXiv 2203.05482); absent: the best trial alone. Their checkpoints stay until then."""
    refit: Literal["none", "trainAndValidation"] = "none"
    """trainAndValidation: the best trial is trained once more, on the rows of train and validation, for as many epochs
    as its best one is; that model is tested and exported."""

    cel_rules = (
        CelRule(
            "!has(self.parameters) || self.parameters.all(p, self.parameters.exists_one(q, q.path == p.path))",
            "parameters need paths that differ",
        ),
        CelRule(
            "self.algorithm.name != 'grid' || !has(self.parameters) || self.parameters.all(p, has(p.choice))",
            "algorithm grid needs choice for every parameter",
        ),
        CelRule("!has(self.warmStart) || self.algorithm.name == 'tpe'", _WARM_NEEDS_TPE),
        CelRule("!has(self.warmStart) || has(self.parameters)", _WARM_NEEDS_PARAMETERS),
        CelRule("!has(self.soup) || !has(self.refit) || self.refit == 'none'", _SOUP_OR_REFIT),
    )
    cluster_rules = (CelRule("!has(self.warmStart)", "warmStart: on a cluster not available yet"),)

    @model_validator(mode="after")
    def _parameters_fit_together(self) -> "SearchSpec":
        parameters = self.parameters or []
        paths = [parameter.path for parameter in parameters]
        if len(set(paths)) < len(paths):
            raise ValueError("parameters need paths that differ")
        if self.algorithm.name == "grid" and any(parameter.choice is None for parameter in parameters):
            raise ValueError("algorithm grid needs choice for every parameter")
        if self.warm_start and self.algorithm.name != "tpe":
            raise ValueError(_WARM_NEEDS_TPE)
        if self.warm_start and not parameters:
            raise ValueError(_WARM_NEEDS_PARAMETERS)
        if self.soup is not None and self.refit != "none":
            raise ValueError(_SOUP_OR_REFIT)
        return self
