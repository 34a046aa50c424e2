"""`spec.cluster`, `spec.output`, `spec.evaluation` and `spec.restartPolicy`: where the job runs and what it leaves."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from thaw_api.schema_model import CLAIM_URI, FILE_IS_LOCAL, CelRule, LongText, SchemaModel, ShortText
from thaw_api.thresholds import THRESHOLD

Quantity = Annotated[
    str, StringConstraints(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?([a-zA-Z]{1,2})?$")
]
OutputUri = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=rf"^(file|s3|gs):[^#\s]+$|{CLAIM_URI}")
]
EnvName = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
LabelMap = dict[ShortText, Annotated[str, StringConstraints(max_length=63)]]


class SecretKeyRef(SchemaModel):
    """One key of a Secret in the job's namespace, which the job's author must be allowed to read."""

    name: ShortText
    """The Secret's name."""
    key: ShortText
    """The key in it."""


class EnvVar(SchemaModel):
    """One environment variable of head and workers."""

    name: EnvName
    """The variable's name."""
    value: LongText | None = None
    """Its value, when it is no secret."""
    secret_key_ref: SecretKeyRef | None = None
    """Where its value is, when it is one."""

    cel_rules = (CelRule("has(self.value) != has(self.secretKeyRef)", "give exactly one of value and secretKeyRef"),)

    @model_validator(mode="after")
    def _one_source(self) -> "EnvVar":
        if (self.value is None) == (self.secret_key_ref is None):
            raise ValueError("give exactly one of value and secretKeyRef")
        return self


class Toleration(SchemaModel):
    """A taint that pods tolerate (core/v1)."""

    key: ShortText | None = None
    """The taint's key; absent with operator Exists: every taint."""
    operator: Annotated[str, StringConstraints(pattern=r"^(Exists|Equal)$", max_length=6)] | None = None
    """Exists or Equal; absent: Equal."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The taint's value."""
    effect: (
        Annotated[str, StringConstraints(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None
    ) = None
    """The taint's effect; absent: every effect."""


class WorkersSpec(SchemaModel):
    """The worker pods."""

    replicas: int | None = Field(default=None, ge=1, le=1024)
    """How many; absent: 1, or what min and max say."""
    min: int | None = Field(default=None, ge=1, le=1024)
    """Fewest workers of an elastic job."""
    max: int | None = Field(default=None, ge=1, le=1024)
    """Most workers of an elastic job."""
    resources: dict[ShortText, Quantity | Annotated[int, Field(ge=0)]] | None = Field(default=None, max_length=16)
    """What one worker asks for and may use: cpu, memory, nvidia.com/gpu."""
    node_selector: LabelMap | None = Field(default=None, max_length=32)
    """Labels of the nodes that may run workers."""
    tolerations: list[Toleration] | None = Field(default=None, max_length=32)
    """Taints that workers tolerate."""
    env: list[EnvVar] | None = Field(default=None, max_length=64)
    """Environment of head and workers."""

    cel_rules = (
        CelRule("has(self.min) == has(self.max)", "min and max belong together"),
        CelRule("!has(self.min) || self.min <= self.max", "min must not be above max"),
        CelRule("!(has(self.replicas) && has(self.min))", "give replicas, or min and max"),
    )
    list_map_keys: ClassVar[dict[str, str]] = {"env": "name"}

    @model_validator(mode="after")
    def _size_is_clear(self) -> "WorkersSpec":
        if (self.min is None) != (self.max is None):
            raise ValueError("min and max belong together")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be above max")
        if self.replicas is not None and self.min is not None:
            raise ValueError("give replicas, or min and max")
        return self

    @model_validator(mode="after")
    def _env_names_differ(self) -> "WorkersSpec":
        names = [variable.name for variable in self.env or ()]
        if len(set(names)) < len(names):
            raise ValueError("env needs names that differ")
        return self


class ClusterSpec(SchemaModel):
    """The Ray cluster that is launched for the job. `thaw run` reads `workersPerTrial` only."""

    image: ShortText | None = None
    """Image of head and workers; absent: the operator's default trainer image."""
    workers: WorkersSpec | None = None
    """The worker pods."""
    workers_per_trial: int = Field(default=1, ge=1, le=1024)
    """Workers that train one trial together."""


class SliceSpec(SchemaModel):
    """A part of the test rows that is measured by itself."""

    name: ShortText
    """The slice's name."""
    where: LongText
    """Expression over the columns that selects its rows."""


def _named_once(slices: list[SliceSpec] | None) -> list[SliceSpec] | None:
    names = [each.name for each in slices or ()]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(f"several slices are called {repeated!r}")
    return slices


class GenerationSpec(SchemaModel):
    """How a model writes the texts that it is measured by (translation, summarization, speech-recognition)."""

    beams: int = Field(default=4, ge=1, le=64)
    """Beginnings that are followed at a time (beam search); 1: the likeliest token each time."""
    max_tokens: int | None = Field(default=None, ge=1, le=1048576)
    """Tokens of a text at most; absent: as many as the longest target of train has."""
    length_penalty: float = Field(default=1.0, ge=-10, le=10)
    """Exponent of the length that a beam's score is divided by: above 0 favours long texts, below 0 short ones."""
    no_repeat_ngram: int = Field(default=0, ge=0, le=64)
    """No so many tokens in a row come twice in a text; 0: whatever comes."""


class EvaluationSpec(SchemaModel):
    """What is measured on the test rows, once, after the choice."""

    metrics: list[ShortText] | None = Field(default=None, min_length=1, max_length=32)
    """Metrics of the task; absent: all of them."""
    episodes: int | None = Field(default=None, ge=1, le=100000)
    """Episodes of validation, and of test (reinforcement-learning); absent: 20."""
    generation: GenerationSpec | None = None
    """How texts are written to be measured; absent: beam search with 4 beams, or for speech the likeliest token each
    time."""
    slices: Annotated[list[SliceSpec] | None, AfterValidator(_named_once)] = Field(default=None, max_length=32)
    """Parts of the test rows measured by themselves."""
    label_errors: int | None = Field(default=None, ge=1, le=1000)
    """So many training rows are listed by how likely their label is wrong, the likeliest first, and those that
    confident learning (arXiv 1911.00068) takes for wrong are counted; nothing is changed by it. Absent: they are not
    looked for. Classifiers of one label only."""
    require: dict[ShortText, Annotated[str, StringConstraints(max_length=64, pattern=THRESHOLD)]] | None = Field(
        default=None, max_length=16
    )
    """What metrics have to reach on the test rows, such as accuracy: ">= 0.9"; else the job fails, with its model
    written (BelowThreshold)."""


class OutputSpec(SchemaModel):
    """Where the job's results and checkpoints go."""

    uri: OutputUri
    """Folder of results and checkpoints: pvc://claim/path, s3://, gs://, or file:path (`thaw run` only)."""

    cluster_rules = (FILE_IS_LOCAL,)


class RestartPolicy(SchemaModel):
    """What is tried again. The user's own errors never are; preemption always is."""

    on_infrastructure: int = Field(default=3, ge=0, le=100)
    """New attempts after failures of nodes, pods or network."""
