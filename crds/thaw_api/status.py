"""`status`: the operator's part, and `training`, which the trainer alone writes. Metric values are strings, by the
API conventions."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from thaw_api.schema_model import SchemaModel, ShortText

Text = Annotated[str, StringConstraints(max_length=1024)]
Timestamp = Annotated[str, StringConstraints(max_length=64), Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
JobPhase = Literal["Queued", "Starting", "Running", "Suspended", "Restarting", "Succeeded", "Failed"]
TrialState = Literal["pending", "running", "succeeded", "stopped", "failed"]


class Condition(SchemaModel):
    """A metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """Accepted, ClusterReady, Running, Suspended, Complete, Failed, Reconciling or Stalled."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """The generation it was computed from."""
    last_transition_time: Timestamp
    """When the status last changed."""
    reason: Annotated[str, StringConstraints(max_length=1024)]
    """Why, in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=32768)]
    """Why, for people."""


class Restarts(SchemaModel):
    """New attempts by cause."""

    user: Count | None = None
    """After the user's own errors: always 0."""
    infrastructure: Count | None = None
    """After failures of nodes, pods or network."""
    preemption: Count | None = None
    """After preemption."""


class Failure(SchemaModel):
    """Why the job failed."""

    reason: Text
    """The cause in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=4096)]
    """The cause for people, with the field it is about."""
    log_tail: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """The end of the driver's log."""


class Metric(SchemaModel):
    """One number by its name."""

    name: ShortText
    """The metric's name."""
    value: Annotated[str, StringConstraints(max_length=64)]
    """Its value."""


class Assignment(SchemaModel):
    """The value that a searched path took."""

    path: ShortText
    """The path."""
    value: Annotated[str, StringConstraints(max_length=256)]
    """Its value."""


class TrialCounts(SchemaModel):
    """Trials by state."""

    total: Count | None = None
    """Trials that the search may run."""
    running: Count | None = None
    """Trials in training."""
    succeeded: Count | None = None
    """Trials trained to their end."""
    stopped: Count | None = None
    """Trials given up by the scheduler."""
    failed: Count | None = None
    """Trials ended by an error."""


class BestTrial(SchemaModel):
    """The best trial so far."""

    name: ShortText
    """The trial's name."""
    parameters: list[Assignment] | None = Field(default=None, max_length=32)
    """What the searched paths were."""
    metric: Metric
    """The objective."""


class TrialRow(SchemaModel):
    """One trial of the table."""

    name: ShortText
    """The trial's name."""
    state: TrialState
    """Where it stands."""
    epoch: Count | None = None
    """Epochs trained."""
    metric: Metric | None = None
    """The objective's best value."""
    parameters: list[Assignment] | None = Field(default=None, max_length=32)
    """What the searched paths were."""
    reason: Text | None = None
    """Why it failed."""


class FreezingStatus(SchemaModel):
    """What is being trained."""

    phase: Text
    """The phase's name."""
    trainable_parameters: Count
    """Numbers that are trained."""
    total_parameters: Count
    """Numbers that the model has."""


class PrefixCacheStatus(SchemaModel):
    """What the prefix cache did."""

    hits: Count | None = None
    """Examples found."""
    misses: Count | None = None
    """Examples computed."""
    bytes: Count | None = None
    """Bytes kept."""
    saved_seconds: Count | None = None
    """Seconds of computation saved."""


class CheckpointStatus(SchemaModel):
    """The newest checkpoint."""

    uri: Annotated[str, StringConstraints(max_length=1024)]
    """Where it is."""
    time: Timestamp
    """When it was written."""
    epoch: Count
    """Epochs trained."""


class ResultStatus(SchemaModel):
    """The job's result."""

    uri: Annotated[str, StringConstraints(max_length=1024)]
    """Folder of the result."""
    metrics: list[Metric] | None = Field(default=None, max_length=32)
    """Metrics on the test rows."""


class TrainingFailure(SchemaModel):
    """What the trainer says of its own failure."""

    attempt: Count
    """The attempt that failed."""
    cause: Literal["user", "infrastructure"]
    """Whose error it is."""
    reason: Text
    """The cause in one CamelCase word."""
    message: Annotated[str, StringConstraints(max_length=4096)]
    """The cause for people."""


class Summary(SchemaModel):
    """Text for the printer columns."""

    trials: Text | None = None
    """Such as 7/20."""
    best: Text | None = None
    """Such as accuracy 0.91."""


class TrainingStatus(SchemaModel):
    """What the trainer reports (names as in Kubeflow's KEP-2779 where it has them)."""

    progress_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    """How much of the job is done."""
    estimated_remaining_seconds: Count | None = None
    """How long the rest takes."""
    last_updated_time: Timestamp | None = None
    """When this was written."""
    metrics: list[Metric] | None = Field(default=None, max_length=32)
    """The newest metrics of the best trial."""
    trials: TrialCounts | None = None
    """Trials by state."""
    best_trial: BestTrial | None = None
    """The best trial so far."""
    trial_table: list[TrialRow] | None = Field(default=None, max_length=50)
    """The best, the running and the newest trials."""
    freezing: FreezingStatus | None = None
    """What is being trained."""
    prefix_cache: PrefixCacheStatus | None = None
    """What the prefix cache did."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint."""
    result: ResultStatus | None = None
    """The job's result."""
    failure: TrainingFailure | None = None
    """What the trainer says of its failure."""
    job_uid: Annotated[str, StringConstraints(max_length=64)] | None = Field(default=None, alias="jobUID")
    """uid of the job that this report is about."""
    summary: Summary | None = None
    """Text for the printer columns."""

    list_map_keys: ClassVar[dict[str, str]] = {"metrics": "name", "trialTable": "name"}


class FineTuneJobStatus(SchemaModel):
    """Where the job stands."""

    observed_generation: Count | None = None
    """The generation that the operator has seen."""
    phase: JobPhase | None = None
    """Where the job stands, in one word."""
    start_time: Timestamp | None = None
    """When the job first started."""
    completion_time: Timestamp | None = None
    """When the job ended."""
    active_seconds: Count | None = None
    """Seconds that the job was active before `activeSince`; what activeDeadlineSeconds counts."""
    active_since: Timestamp | None = None
    """Since when it has been active; absent while it is suspended or queued for the first time."""
    ray_job_name: ShortText | None = None
    """The RayJob of the newest attempt."""
    restarts: Restarts | None = None
    """New attempts by cause."""
    conditions: list[Condition] | None = Field(default=None, max_length=16)
    """Conditions (metav1.Condition)."""
    failure: Failure | None = None
    """Why the job failed."""
    message: Text | None = None
    """The operator's one line."""
    queue: ShortText | None = None
    """The Kueue queue that the job waits in."""
    training: TrainingStatus | None = None
    """What the trainer reports; only the trainer writes it."""

    list_map_keys: ClassVar[dict[str, str]] = {"conditions": "type"}
