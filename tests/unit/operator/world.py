"""A cluster as `decide` sees it, made of values: builders of its parts, and what a decision does to it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from thaw_api import contract
from thaw_api.job import FineTuneJobSpec
from thaw_api.status import FineTuneJobStatus, TrainingStatus
from thaw_operator.decide.decide import decide
from thaw_operator.decide.decision import Decision
from thaw_operator.observed import (
    Child,
    Claim,
    Job,
    Key,
    Observed,
    Pod,
    Problem,
    RayCluster,
    RayJob,
    Reference,
)
from thaw_operator.settings import Settings

NAME, NAMESPACE, UID = "sections", "research", "uid-of-sections"
BEGIN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(trainer_image="trainer:1", head_lost_seconds=60, recheck_seconds=10)
SPEC: dict[str, Any] = {
    "task": "text-classification",
    "model": {"uri": "hf://org/model"},
    "data": {"train": {"uri": "pvc://corpus/train.csv"}, "columns": {"text": "text", "label": "label"}},
    "output": {"uri": "pvc://models/out"},
}


def spec_of(**changes: Any) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(SPEC | changes)


def child(kind: str, name: str, owner: str | None = UID, owner_kind: str | None = "FineTuneJob") -> Child:
    return Child(Reference(kind, name), f"uid-of-{kind}-{name}", owner, owner_kind if owner else None, False)


def ray_job(attempt: int = 1, deployment: str = "", job: str = "", message: str = "", **changes: Any) -> RayJob:
    name = contract.attempt_name(NAME, attempt)
    return replace(RayJob(child("RayJob", name), attempt, False, job, deployment, "", message), **changes)


def running(attempt: int = 1) -> RayJob:
    return ray_job(attempt, "Running", "RUNNING")


def succeeded(attempt: int = 1) -> RayJob:
    return ray_job(attempt, "Complete", "SUCCEEDED")


def failed(attempt: int = 1, exit_code: int | None = 1, log: str = "a line\n") -> RayJob:
    how = "failed" if exit_code is None else f"failed with exit code {exit_code}"
    message = f"Job entrypoint command {how}, last available logs (truncated to 20,000 chars):\n{log}"
    return ray_job(attempt, "Failed", "FAILED", message)


def cluster(attempt: int = 1, *, head_ready: bool = True, since: datetime = BEGIN) -> RayCluster:
    return RayCluster(f"{NAME}-{attempt}-abcde", UID, attempt, True, head_ready, since)


def pod(attempt: int = 1, *, head: bool = True, problem: Problem | None = None, live: bool = True) -> Pod:
    return Pod(f"{NAME}-{attempt}-{'head' if head else 'worker'}", UID, attempt, head, live, problem)


CLAIMS = {name: Claim(name, ("ReadWriteMany",), False) for name in ("corpus", "models")}


@dataclass
class World:
    """One job and what there is of it. `pass_` is a reconcile."""

    spec: FineTuneJobSpec | None = field(default_factory=spec_of)
    now: datetime = BEGIN
    status: FineTuneJobStatus = field(default_factory=FineTuneJobStatus)
    training: TrainingStatus | None = None
    labels: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    deleting: bool = False
    kuberay: bool = True
    children: dict[Reference, Child] = field(default_factory=dict)
    ray_jobs: list[RayJob] = field(default_factory=list)
    ray_clusters: list[RayCluster] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    claims: dict[str, Claim] = field(default_factory=lambda: dict(CLAIMS))
    evictions: dict[str, int] = field(default_factory=dict)
    sent: list[Decision] = field(default_factory=list)

    def observed(self) -> Observed:
        status = self.status.model_copy(update={"training": self.training})
        job = Job(Key(NAMESPACE, NAME), UID, self.generation, "1", self.labels, self.deleting, self.spec, (), status)
        children = self.children | {one.child.reference: one.child for one in self.ray_jobs}
        configurations = tuple(one for one in self.children.values() if one.reference.kind == "ConfigMap")
        return Observed(
            job=job,
            kuberay=self.kuberay,
            children=children,
            configurations=configurations,
            ray_jobs=tuple(self.ray_jobs),
            ray_clusters=tuple(self.ray_clusters),
            pods=tuple(self.pods),
            claims=self.claims,
            evictions=self.evictions,
        )

    def decision(self) -> Decision:
        """What is wanted now, without doing it."""
        return decide(self.observed(), self.now, SETTINGS)

    def pass_(self, seconds: float = 0.0) -> Decision:
        """Lets time pass, and does what is wanted then: what is created is there, what is deleted is gone."""
        self.now += timedelta(seconds=seconds)
        decision = self.decision()
        if decision.status is not None:
            self.status = decision.status
        for gone in decision.delete:
            self.children.pop(gone.reference, None)
            self.ray_jobs = [one for one in self.ray_jobs if one.child.reference != gone.reference]
        for manifest in decision.create:
            self._create(manifest)
        self.sent.append(decision)
        return decision

    def settle(self) -> Decision:
        """Passes until nothing is written any more; returns the last one."""
        for _ in range(5):
            decision = self.pass_()
            if decision.status is None and not decision.create and not decision.delete:
                return decision
        raise AssertionError("five passes in a row wrote something")

    def kuberay_says(self, *ray_jobs: RayJob) -> None:
        """The RayJobs are now these."""
        self.ray_jobs = list(ray_jobs)

    def created(self) -> list[str]:
        """Kind and name of all that was ever created, in order."""
        return [f"{one['kind']}/{one['metadata']['name']}" for each in self.sent for one in each.create]

    def condition(self, kind: str) -> str | None:
        """Status of a condition; None when it is not there."""
        return next((one.status for one in self.status.conditions or () if one.type == kind), None)

    def reason(self, kind: str) -> str | None:
        """Reason of a condition; None when it is not there."""
        return next((one.reason for one in self.status.conditions or () if one.type == kind), None)

    def _create(self, manifest: dict[str, Any]) -> None:
        made = child(manifest["kind"], manifest["metadata"]["name"])
        if manifest["kind"] == "RayJob":
            self.ray_jobs.append(ray_job(int(manifest["metadata"]["labels"][contract.ATTEMPT_LABEL])))
        else:
            self.children[made.reference] = made


def started(**changes: Any) -> World:
    """A job whose first attempt runs."""
    world = World(**changes)
    world.settle()
    world.kuberay_says(running())
    world.ray_clusters = [cluster()]
    world.pods = [pod(), pod(head=False)]
    world.settle()
    return world


def lose_head(world: World, attempt: int) -> None:
    """The head of an attempt is killed: KubeRay does not bring it back."""
    world.pods = [pod(attempt, head=False)]
    world.ray_clusters = [cluster(attempt, head_ready=False, since=world.now)]


def torn_down(world: World) -> None:
    """KubeRay has removed cluster and pods."""
    world.pods, world.ray_clusters = [], []
