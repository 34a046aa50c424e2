"""Pods of a job's Ray cluster, within the `restricted` Pod Security Standard."""

from typing import Any

from thaw_api import contract
from thaw_api.cluster import EnvVar
from thaw_operator.children.claims import volumes_of
from thaw_operator.children.ownership import labels_of
from thaw_operator.observed import Job
from thaw_operator.settings import Settings

WORKER_CONTAINER = "ray-worker"
_GRACE_SECONDS = 5
_HOSTNAME = "kubernetes.io/hostname"
_READINESS = {
    "httpGet": {"path": "/api/healthz", "port": 52365},
    "periodSeconds": 2,
    "timeoutSeconds": 5,
    "failureThreshold": 25,
}
"""What KubeRay asks Ray's agent itself, but from the beginning and more often: KubeRay's own probe first waits for 10
seconds, then asks every 5, and the driver starts only when all pods are ready. A pod that does not answer becomes
unready after the same 50 seconds."""


def head_template(job: Job, attempt: int, settings: Settings) -> dict[str, Any]:
    """The head's pod: the driver runs in it, and only it has a token."""
    assert job.spec is not None
    template = _template(job, attempt, contract.HEAD_CONTAINER, settings)
    pod, container = template["spec"], template["spec"]["containers"][0]
    container["env"].append({"name": contract.ATTEMPT_VARIABLE, "value": str(attempt)})
    container["resources"] = {
        "requests": {"cpu": settings.head_cpu, "memory": settings.head_memory},
        "limits": {"memory": settings.head_memory},
    }
    name = contract.attempt_name(job.key.name, attempt)
    pod["volumes"].append({"name": "job", "configMap": {"name": name}})
    container["volumeMounts"].append({"name": "job", "mountPath": contract.JOB_FOLDER, "readOnly": True})
    pod["serviceAccountName"] = contract.trainer_account(job.key.name)
    pod["automountServiceAccountToken"] = True
    # A head that ended takes the driver with it. It must not come back to run the job from within its old attempt.
    pod["restartPolicy"] = "Never"
    return template


def worker_template(job: Job, attempt: int, settings: Settings, *, beside_head: bool) -> dict[str, Any]:
    """A worker's pod.

    Args:
        beside_head: whether it must run on the head's node, where the claims are.
    """
    assert job.spec is not None
    template = _template(job, attempt, WORKER_CONTAINER, settings)
    pod, container = template["spec"], template["spec"]["containers"][0]
    workers = job.spec.cluster.workers
    resources = dict(workers.resources) if workers and workers.resources else {}
    wanted = {"cpu": settings.worker_cpu, "memory": settings.worker_memory} | {k: str(v) for k, v in resources.items()}
    container["resources"] = {"requests": wanted, "limits": wanted}
    pod["automountServiceAccountToken"] = False
    # The trainer keeps to the budget; a limit at the same size would have the pod evicted for its bookkeeping.
    pod["volumes"].append({"name": "prefix-cache", "emptyDir": {}})
    container["volumeMounts"].append({"name": "prefix-cache", "mountPath": contract.CACHE_FOLDER})
    if all(variable["name"] != contract.CACHE_VARIABLE for variable in container["env"]):
        container["env"].append({"name": contract.CACHE_VARIABLE, "value": contract.CACHE_FOLDER})
    if workers and workers.node_selector:
        pod["nodeSelector"] = dict(workers.node_selector)
    if workers and workers.tolerations:
        pod["tolerations"] = [toleration.manifest() for toleration in workers.tolerations]
    if beside_head:
        head = {"matchLabels": labels_of(job, attempt) | {"ray.io/node-type": "head"}}
        term = {"labelSelector": head, "topologyKey": _HOSTNAME}
        pod["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return template


def _template(job: Job, attempt: int, container: str, settings: Settings) -> dict[str, Any]:
    assert job.spec is not None
    volumes, mounts = volumes_of(job.spec)
    image = job.spec.cluster.image
    pull = {} if image else {"imagePullPolicy": settings.trainer_image_pull_policy}
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.pod_group is not None:
        security |= {"fsGroup": settings.pod_group, "fsGroupChangePolicy": "OnRootMismatch"}
    return {
        "metadata": {"labels": labels_of(job, attempt)},
        "spec": {
            "securityContext": security,
            "enableServiceLinks": False,
            # Ray's container does not pass the signal on, and epochs that have ended are saved already.
            "terminationGracePeriodSeconds": _GRACE_SECONDS,
            "containers": [
                {
                    "name": container,
                    "image": image or settings.trainer_image,
                    **pull,
                    "env": _environment(job),
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                    "readinessProbe": dict(_READINESS),
                }
            ],
            "volumes": volumes,
        },
    }


def _environment(job: Job) -> list[dict[str, Any]]:
    """Ours first, so that the job's own may replace it."""
    assert job.spec is not None
    ours = {"RAY_USAGE_STATS_ENABLED": "0"}
    workers = job.spec.cluster.workers
    theirs = {variable.name: _variable(variable) for variable in (workers.env if workers and workers.env else ())}
    return [*({"name": name, "value": value} for name, value in ours.items() if name not in theirs), *theirs.values()]


def _variable(variable: EnvVar) -> dict[str, Any]:
    if variable.secret_key_ref is not None:
        return {"name": variable.name, "valueFrom": {"secretKeyRef": variable.secret_key_ref.manifest()}}
    return {"name": variable.name, "value": variable.value}
