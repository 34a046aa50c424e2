"""Reading: the job itself from the apiserver, its children from the indices, and by name what no index can hold."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from thaw_api.job import KIND
from thaw_operator.children.claims import claims_of
from thaw_operator.children.ownership import QUEUE_LABEL
from thaw_operator.children.ray_job import RAY_JOB
from thaw_operator.cluster_api import ClusterApi
from thaw_operator.decide.status import is_over, wanted_attempt
from thaw_operator.decide.wanted import wanted_children
from thaw_operator.observed import Child, Claim, Job, Key, Observed, Pod, RayCluster, RayJob, Reference
from thaw_operator.views import child_view, claim_view, evictions_view, job_view, ray_job_view


@dataclass(frozen=True)
class Indices:
    """What is watched by the jobs' label, by job. Each value is a live view of an index."""

    children: tuple[Mapping[Key, Collection[Child]], ...]
    """ServiceAccounts, RoleBindings and ConfigMaps."""
    ray_jobs: Mapping[Key, Collection[RayJob]]
    ray_clusters: Mapping[Key, Collection[RayCluster]]
    pods: Mapping[Key, Collection[Pod]]


async def observe(api: ClusterApi, indices: Indices, key: Key) -> Observed | None:
    """All that a decision about a job depends on; None when the job is gone."""
    body = await api.get(key, Reference(KIND, key.name))
    if body is None:
        return None
    job = job_view(body)
    ray_jobs = tuple(indices.ray_jobs.get(key, ()))
    children = {child.reference: child for index in indices.children for child in index.get(key, ())}
    children |= {one.child.reference: one.child for one in ray_jobs}
    configurations = tuple(child for child in children.values() if child.reference.kind == "ConfigMap")
    kuberay, claims = True, {}
    if _may_create(job):
        kuberay = bool(ray_jobs) or await api.knows_ray_jobs()
        claims = await _claims(api, job)
        found = await _by_name(api, key, _missing(job, children), kuberay)
        children |= {child.reference: child for child, _ in found}
        ray_jobs += tuple(ray_job_view(body) for child, body in found if _is_own_ray_job(child, job))
    return Observed(
        job=job,
        kuberay=kuberay,
        children=children,
        configurations=configurations,
        ray_jobs=ray_jobs,
        ray_clusters=tuple(indices.ray_clusters.get(key, ())),
        pods=tuple(indices.pods.get(key, ())),
        claims=claims,
        evictions=await _evictions(api, job, ray_jobs),
    )


def _may_create(job: Job) -> bool:
    return not job.deleting and job.spec is not None and not job.spec.suspend and not is_over(job)


def _missing(job: Job, children: Mapping[Reference, Child]) -> Iterable[Reference]:
    """Names that the wanted attempt needs and that no index knows: nobody's, a stranger's, or so new that the index has
    not heard of it."""
    wanted = wanted_children(job, wanted_attempt(job))
    return [reference for reference in wanted if reference not in children]


async def _by_name(
    api: ClusterApi, key: Key, references: Iterable[Reference], kuberay: bool
) -> list[tuple[Child, dict[str, Any]]]:
    known = [reference for reference in references if kuberay or reference.kind != RAY_JOB]
    bodies = [(reference, await api.get(key, reference)) for reference in known]
    return [(child_view(body, reference.kind), body) for reference, body in bodies if body is not None]


async def _claims(api: ClusterApi, job: Job) -> dict[str, Claim]:
    """Read only until the attempt's RayJob exists: pods keep the claims they have."""
    if job.status.phase in ("Starting", "Running") or job.spec is None:
        return {}
    bodies = [await api.get(job.key, Reference("PersistentVolumeClaim", name)) for name in claims_of(job.spec)]
    return {claim.name: claim for claim in map(claim_view, filter(None, bodies))}


async def _evictions(api: ClusterApi, job: Job, ray_jobs: Iterable[RayJob]) -> dict[str, int]:
    """Not watched: a queue counts a preemption before it suspends the RayJob, which is an event."""
    if QUEUE_LABEL not in job.labels or is_over(job):
        return {}
    own = [one.child.uid for one in ray_jobs if one.child.owner_uid == job.uid]
    return {uid: sum(map(evictions_view, await api.workloads(job.key, uid))) for uid in own}


def _is_own_ray_job(child: Child, job: Job) -> bool:
    return child.reference.kind == RAY_JOB and child.owner_uid == job.uid
