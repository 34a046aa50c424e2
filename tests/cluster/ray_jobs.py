"""Raw RayJobs and pods, as a person would write them by hand: what thaw is compared with."""

from __future__ import annotations

from typing import Any

# The lock's; KubeRay chooses its probes by it.
RAY_VERSION = "2.60.0"
RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def ray_job(name: str, image: str, entrypoint: str, workers: int = 1) -> dict[str, Any]:
    """HTTPMode, token authentication, a head without CPUs for tasks, and workers of one CPU."""
    worker_group = {
        "groupName": "workers",
        "replicas": workers,
        "minReplicas": workers,
        "maxReplicas": workers,
        "rayStartParams": {"num-cpus": "1"},
        "template": _template("worker", image, memory="1Gi"),
    }
    head_group = {
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
        "template": _template("head", image, memory="2Gi"),
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": name},
        "spec": {
            "entrypoint": entrypoint,
            "submissionMode": "HTTPMode",
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                "authOptions": {"mode": "token"},
                "headGroupSpec": head_group,
                "workerGroupSpecs": [worker_group],
            },
        },
    }


def pod(name: str, image: str, command: list[str], **spec: Any) -> dict[str, Any]:
    """A pod that runs one command once."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": RESTRICTED_CONTAINER,
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
            **spec,
        },
    }


def _template(name: str, image: str, memory: str) -> dict[str, Any]:
    resources = {"cpu": "200m", "memory": memory}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": RESTRICTED_CONTAINER,
        "resources": {"requests": resources, "limits": {"cpu": "2", "memory": "4Gi"}},
    }
    return {"spec": {"securityContext": RESTRICTED_POD, "containers": [container]}}
