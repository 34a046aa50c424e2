"""The FineTuneJob: group, version, names, spec and the rules over the whole of it."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from thaw_api.cluster import ClusterSpec, EvaluationSpec, OutputSpec, RestartPolicy
from thaw_api.data import DataSpec
from thaw_api.freezing import FreezingSpec
from thaw_api.model import ModelSpec
from thaw_api.schema_model import CelRule, SchemaModel
from thaw_api.search import SearchSpec
from thaw_api.status import FineTuneJobStatus
from thaw_api.tasks import TASKS, TaskEntry, TaskName
from thaw_api.training import TrainingSpec

GROUP = "thaw.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "FineTuneJob"
PLURAL = "finetunejobs"
SHORT_NAME = "ftj"
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_MAX_LENGTH = 40
"""A RayJob's name has at most 47 characters, and an attempt's number is added to ours."""

IMMUTABLE_FIELDS = ("task", "model", "data", "training", "freezing", "search", "evaluation", "output", "restartPolicy")
"""Fields of the spec that never change after creation."""


def _immutability() -> tuple[CelRule, ...]:
    """Rules by which only suspend, deadlines and, while suspended, the cluster may change."""
    same = tuple(
        CelRule(
            f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})",
            f"{name} is immutable: create a new job to change it",
        )
        for name in IMMUTABLE_FIELDS
    )
    cluster = CelRule(
        "(has(self.cluster) == has(oldSelf.cluster) && (!has(self.cluster) || self.cluster == oldSelf.cluster))"
        " || (has(oldSelf.suspend) && oldSelf.suspend)",
        "cluster may change only while the job is suspended: set suspend to true first",
    )
    return (*same, cluster)


class FineTuneJobSpec(SchemaModel):
    """What is to be fine-tuned, on what, how, and where the result goes."""

    task: TaskName
    """What the model learns to do."""
    model: ModelSpec
    """The pretrained model."""
    data: DataSpec
    """The rows to learn from and to be measured on."""
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    """One trial's training."""
    freezing: FreezingSpec = Field(default_factory=FreezingSpec)
    """Which tensors are trained when."""
    search: SearchSpec = Field(default_factory=SearchSpec)
    """The search over hyperparameters."""
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    """What is measured on the test rows."""
    output: OutputSpec
    """Where results go."""
    cluster: ClusterSpec = Field(default_factory=ClusterSpec)
    """The Ray cluster."""
    suspend: bool = False
    """Stop the job and give its cluster back; set to false, it goes on from its last checkpoint."""
    restart_policy: RestartPolicy = Field(default_factory=RestartPolicy)
    """What is tried again."""
    active_deadline_seconds: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Seconds after the first start when the job fails; suspended time does not count."""
    ttl_seconds_after_finished: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """Seconds after the end when the cluster is removed; the job itself stays."""

    cel_rules = (
        *_immutability(),
        CelRule(
            "self.training.batchSize % (self.cluster.workersPerTrial * self.training.gradientAccumulation) == 0",
            "training.batchSize must be a multiple of cluster.workersPerTrial x training.gradientAccumulation",
        ),
    )

    @property
    def task_entry(self) -> TaskEntry:
        """What the task has, for the job's kind of labels; a KeyError where the task is not available yet."""
        return TASKS[self.task].of_kind(self.data.labels.kind)

    @model_validator(mode="after")
    def _batches_divide(self) -> "FineTuneJobSpec":
        parts = self.cluster.workers_per_trial * self.training.gradient_accumulation
        if self.training.batch_size % parts:
            raise ValueError(
                "training.batchSize must be a multiple of cluster.workersPerTrial x training.gradientAccumulation"
                f" = {parts}; found {self.training.batch_size}"
            )
        return self


class Metadata(SchemaModel):
    """The part of ObjectMeta that thaw reads; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, StringConstraints(min_length=1, max_length=NAME_MAX_LENGTH, pattern=NAME_PATTERN)]
    """The job's name."""
    namespace: str | None = None
    """The job's namespace."""
    labels: dict[str, str] | None = None
    """Labels, such as kueue.x-k8s.io/queue-name."""
    annotations: dict[str, str] | None = None
    """Annotations."""


class FineTuneJob(SchemaModel):
    """Fine-tunes a pretrained model: searches hyperparameters, trains under a freezing schedule, exports the best."""

    api_version: Literal["thaw.dev/v1alpha1"]
    kind: Literal["FineTuneJob"]
    metadata: Metadata
    spec: FineTuneJobSpec
    """What is wanted."""
    status: FineTuneJobStatus | None = None
    """What is: written by the operator and the trainer."""

    def manifest(self) -> dict[str, Any]:
        """The job as a manifest, defaults included and status left out."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"status"})
