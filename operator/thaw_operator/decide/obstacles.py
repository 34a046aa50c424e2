"""What keeps an attempt from being created, or its pods from starting: things that somebody can correct."""

from datetime import datetime, timedelta
from typing import NamedTuple

from thaw_operator import reasons
from thaw_operator.children.claims import claims_of, unshareable
from thaw_operator.observed import Child, Observed, Reference

_SETTLING = timedelta(seconds=15)
"""How long no node may take a pod before that is worth telling: one is sought while claims bind and nodes join."""


class Obstacle(NamedTuple):
    """A reason and a message for people."""

    reason: str
    message: str


def before_creation(observed: Observed, wanted: tuple[Reference, ...]) -> Obstacle | None:
    """Why the attempt whose children are `wanted` cannot be created now."""
    if not observed.kuberay:
        return Obstacle(
            reasons.KUBERAY_MISSING, "the cluster knows no RayJobs: install KubeRay; the job starts when it is there"
        )
    return _claim_obstacle(observed) or _name_obstacle(observed, wanted)


def _claim_obstacle(observed: Observed) -> Obstacle | None:
    assert observed.job.spec is not None
    for name, field in claims_of(observed.job.spec).items():
        claim = observed.claims.get(name)
        if claim is None or claim.deleting:
            state = "is being deleted" if claim else f"does not exist in namespace {observed.job.key.namespace}"
            return Obstacle(reasons.CLAIM_NOT_FOUND, f"{field}: the PersistentVolumeClaim {name} {state}")
        if unshareable(claim):
            return Obstacle(
                reasons.CLAIM_NOT_SHAREABLE,
                f"{field}: the PersistentVolumeClaim {name} allows a single pod (ReadWriteOncePod), and a job has a "
                "head and workers: use ReadWriteMany, or ReadWriteOnce to run all of them on one node",
            )
    return None


def _name_obstacle(observed: Observed, wanted: tuple[Reference, ...]) -> Obstacle | None:
    for reference in wanted:
        child = observed.children.get(reference)
        if child is not None and not ours(observed, child) and not namesakes(child):
            holder = f"a {child.owner_kind} controls it" if child.owner_kind else "nobody controls it"
            return Obstacle(
                reasons.NAME_TAKEN,
                f"the job needs the name of the {reference.kind} {reference.name}, which is not its own ({holder}): "
                "delete that object, or give the job another name",
            )
    return None


def leftovers(observed: Observed, attempt: int, wanted: tuple[Reference, ...]) -> bool:
    """Whether something of another attempt, or of an older job of the same name, is still there."""
    uid = observed.job.uid
    parts = [(one.job_uid, one.attempt) for one in observed.ray_clusters]
    parts += [(one.job_uid, one.attempt) for one in observed.pods]
    if any(part != (uid, attempt) for part in parts):
        return True
    if any(one.child.owner_uid != uid or one.attempt != attempt for one in observed.ray_jobs):
        return True
    held = [child for reference in wanted if (child := observed.children.get(reference)) is not None]
    return any(child.deleting or (namesakes(child) and not ours(observed, child)) for child in held)


def ours(observed: Observed, child: Child) -> bool:
    """Whether the job itself owns a child."""
    return child.owner_uid == observed.job.uid


def namesakes(child: Child) -> bool:
    """Whether a child belongs to a FineTuneJob; used where it is not ours: then an older job of our name had it."""
    return child.owner_kind == "FineTuneJob"


def of_pods(observed: Observed, attempt: int, now: datetime) -> Obstacle | None:
    """What keeps a pod of the attempt from starting; the head's first."""
    pods = [pod for pod in observed.pods if pod.job_uid == observed.job.uid and pod.attempt == attempt]
    for pod in sorted(pods, key=lambda pod: (not pod.head, pod.name)):
        if pod.problem is not None and (pod.problem.since is None or now - pod.problem.since >= _SETTLING):
            return Obstacle(pod.problem.reason, pod.problem.message)
    return None


def settled_at(observed: Observed, now: datetime) -> datetime | None:
    """When a pod that no node takes yet will count as an obstacle."""
    since = [pod.problem.since for pod in observed.pods if pod.problem is not None and pod.problem.since is not None]
    return min((moment + _SETTLING for moment in since if moment + _SETTLING > now), default=None)


def head_lost_at(observed: Observed, attempt: int, patience: float, gone: float) -> datetime | None:
    """When a cluster that has been up counts as lost; None while its head is ready.

    Args:
        patience: seconds that a head which is still there may be unready.
        gone: seconds that its being gone may take to be seen everywhere.
    """
    for cluster in observed.ray_clusters:
        if (cluster.job_uid, cluster.attempt) != (observed.job.uid, attempt):
            continue
        if cluster.provisioned and not cluster.head_ready and cluster.head_ready_since is not None:
            there = any(pod.head and pod.live and pod.attempt == attempt for pod in observed.pods)
            return cluster.head_ready_since + timedelta(seconds=patience if there else gone)
    return None
