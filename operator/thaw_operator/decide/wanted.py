"""Which children an attempt needs, which of them are missing, and which there are too many."""

from collections.abc import Callable
from typing import Any

from thaw_api.contract import attempt_name, trainer_account
from thaw_operator.children.account import role_binding, service_account
from thaw_operator.children.claims import on_one_node
from thaw_operator.children.configuration import config_map
from thaw_operator.children.ray_job import RAY_JOB, ray_job
from thaw_operator.observed import Child, Job, Observed, Reference
from thaw_operator.settings import Settings


def wanted_children(job: Job, attempt: int) -> tuple[Reference, ...]:
    """The names that an attempt needs, in the order in which they are created."""
    name, account = attempt_name(job.key.name, attempt), trainer_account(job.key.name)
    return (
        Reference("ServiceAccount", account),
        Reference("RoleBinding", account),
        Reference("ConfigMap", name),
        Reference(RAY_JOB, name),
    )


def missing(observed: Observed, attempt: int, settings: Settings) -> tuple[dict[str, Any], ...]:
    """Manifests of the wanted children that do not exist."""
    job, claims = observed.job, observed.claims
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "ServiceAccount": lambda: service_account(job),
        "RoleBinding": lambda: role_binding(job),
        "ConfigMap": lambda: config_map(job, attempt),
        RAY_JOB: lambda: ray_job(job, attempt, settings, on_one_node=on_one_node(claims)),
    }
    wanted = wanted_children(job, attempt)
    return tuple(makers[reference.kind]() for reference in wanted if reference not in observed.children)


def unwanted(observed: Observed, attempt: int | None) -> tuple[Child, ...]:
    """RayJobs and ConfigMaps of the job that belong to other attempts (None: of all) and are not being deleted yet."""
    keep = None if attempt is None else attempt_name(observed.job.key.name, attempt)
    mine = [one.child for one in observed.ray_jobs] + list(observed.configurations)
    return tuple(
        child
        for child in mine
        if child.owner_uid == observed.job.uid and not child.deleting and child.reference.name != keep
    )


def unfinished(observed: Observed) -> tuple[Child, ...]:
    """RayJobs of the job that still do something."""
    return tuple(
        one.child
        for one in observed.ray_jobs
        if one.child.owner_uid == observed.job.uid and not one.child.deleting and not one.terminal
    )
