"""The identity of a job's driver: it may report progress to its own job, and nothing else."""

from typing import Any

from thaw_api import contract
from thaw_operator.children.ownership import metadata_of
from thaw_operator.observed import Job


def service_account(job: Job) -> dict[str, Any]:
    """The ServiceAccount of the driver. Only the head mounts its token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata_of(job, contract.trainer_account(job.key.name)),
        "automountServiceAccountToken": False,
    }


def role_binding(job: Job) -> dict[str, Any]:
    """Binds it to the one ClusterRole of all trainers; an admission policy keeps each to its own job."""
    name = contract.trainer_account(job.key.name)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata_of(job, name),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": contract.TRAINER_CLUSTER_ROLE,
        },
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": job.key.namespace}],
    }
