"""What `decide` sees: a job and what belongs to it, cut down to what matters, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from thaw_api import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.status import FineTuneJobStatus


class Key(NamedTuple):
    """Which job."""

    namespace: str
    name: str


class Reference(NamedTuple):
    """Which child of a job: its kind and its name, in the job's namespace."""

    kind: str
    name: str


@dataclass(frozen=True)
class Job:
    """The FineTuneJob as the apiserver has it now."""

    key: Key
    uid: str
    generation: int
    resource_version: str
    labels: Mapping[str, str]
    deleting: bool
    spec: FineTuneJobSpec | None
    """None when the models refuse it, or use of it is not available yet; then `errors` says why."""
    errors: tuple[FieldError, ...]
    status: FineTuneJobStatus
    """Both parts of it; the trainer's only when it is about this job (by uid)."""


@dataclass(frozen=True)
class Child:
    """Any object that has, or would need, the name of one of the job's children."""

    reference: Reference
    uid: str
    owner_uid: str | None
    """uid of its controller; None when nobody controls it."""
    owner_kind: str | None
    deleting: bool


@dataclass(frozen=True)
class RayJob:
    """A RayJob of the job, or of an older job of its name."""

    child: Child
    attempt: int
    suspended: bool
    """`spec.suspend`, which a queue writes and we never do."""
    job_status: str
    deployment_status: str
    reason: str
    message: str
    preempted_before: int = 0
    """How often earlier attempts were preempted, as was known when this one was created."""

    @property
    def terminal(self) -> bool:
        """Whether KubeRay does nothing more with it but remove its cluster."""
        return self.deployment_status in ("Complete", "Failed", "ValidationFailed")


@dataclass(frozen=True)
class RayCluster:
    """The cluster of an attempt."""

    name: str
    job_uid: str
    attempt: int
    provisioned: bool
    """Whether all its pods have been ready once."""
    head_ready: bool
    head_ready_since: datetime | None
    """When `head_ready` took its value."""


class Problem(NamedTuple):
    """What keeps a pod from starting, or ended it."""

    reason: str
    message: str
    since: datetime | None = None


@dataclass(frozen=True)
class Pod:
    """A pod of an attempt."""

    name: str
    job_uid: str
    attempt: int
    head: bool
    live: bool
    """Whether it may still run: neither ended nor being deleted."""
    problem: Problem | None = None


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim that the job names."""

    name: str
    access_modes: tuple[str, ...]
    deleting: bool


@dataclass(frozen=True)
class Observed:
    """All that a decision depends on, but the time and the operator's settings."""

    job: Job
    kuberay: bool = True
    """Whether the cluster knows RayJobs."""
    children: Mapping[Reference, Child] = field(default_factory=dict)
    """Objects that hold the names of ServiceAccount, RoleBinding, ConfigMap and RayJob of the newest attempt and the
    next; strangers' too."""
    configurations: tuple[Child, ...] = ()
    """ConfigMaps of all attempts."""
    ray_jobs: tuple[RayJob, ...] = ()
    ray_clusters: tuple[RayCluster, ...] = ()
    pods: tuple[Pod, ...] = ()
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """Claims that exist, of those that the job names."""
    evictions: Mapping[str, int] = field(default_factory=dict)
    """How often a queue has preempted each RayJob, by uid; only of jobs in a queue."""
