"""The RayJob of an attempt. It is created once and never written again: a queue writes placement into its pods."""

import json
from typing import Any

from thaw_api import contract
from thaw_operator.children.ownership import PREEMPTED_BEFORE, QUEUE_LABEL, metadata_of, queue_labels
from thaw_operator.children.pods import head_template, worker_template
from thaw_operator.observed import Job
from thaw_operator.settings import Settings

RAY_API_VERSION = "ray.io/v1"
RAY_JOB = "RayJob"
_HEAD_RESOURCES = f"'{json.dumps({contract.HEAD_RESOURCE: 1000})}'"
"""Quoted, since KubeRay puts it into a shell's command line as it is; in single quotes, since it also reads the JSON
between them."""
_KEEP_HEAD_DOWN = {"ray.io/disable-provisioned-head-restart": "true"}
"""A second head would get the job submitted again, in the same attempt, without the first one's workers."""


def ray_job(job: Job, attempt: int, settings: Settings, *, on_one_node: bool) -> dict[str, Any]:
    """The attempt's RayJob.

    HTTPMode: no submitter pod. No retries of KubeRay's own, since they know no cause; no deadline of KubeRay's, since
    it starts anew with each attempt.

    Args:
        on_one_node: whether a claim ties all pods to one node.
    """
    assert job.spec is not None
    metadata = metadata_of(job, contract.attempt_name(job.key.name, attempt), attempt)
    metadata["labels"] |= queue_labels(job)
    metadata["annotations"] = dict(_KEEP_HEAD_DOWN)
    if job.status.restarts and job.status.restarts.preemption:
        metadata["annotations"][PREEMPTED_BEFORE] = str(job.status.restarts.preemption)
    # A queue frees the quota when the job ends: its cluster must not stay.
    queued = QUEUE_LABEL in job.labels
    workers = job.spec.cluster.workers
    replicas = (workers.replicas if workers else None) or 1
    return {
        "apiVersion": RAY_API_VERSION,
        "kind": RAY_JOB,
        "metadata": metadata,
        "spec": {
            "entrypoint": contract.DRIVER_COMMAND,
            "submissionMode": "HTTPMode",
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 0 if queued else job.spec.ttl_seconds_after_finished or 0,
            "rayClusterSpec": {
                "rayVersion": settings.ray_version,
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "resources": _HEAD_RESOURCES},
                    "template": head_template(job, attempt, settings),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": replicas,
                        "minReplicas": replicas,
                        "maxReplicas": replicas,
                        "rayStartParams": {},
                        "template": worker_template(job, attempt, settings, beside_head=on_one_node),
                    }
                ],
            },
        },
    }
