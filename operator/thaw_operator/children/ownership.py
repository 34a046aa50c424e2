"""Names, labels and owner of a job's children."""

from typing import Any

from thaw_api import contract
from thaw_api.job import API_VERSION, KIND
from thaw_operator.observed import Job

_QUEUE_PREFIX = "kueue.x-k8s.io/"
QUEUE_LABEL = f"{_QUEUE_PREFIX}queue-name"
PREEMPTED_BEFORE = "thaw.dev/preempted-before"
"""Annotation of a RayJob: how often earlier attempts were preempted. A queue's own count goes with each RayJob."""


def labels_of(job: Job, attempt: int | None = None) -> dict[str, str]:
    """Labels by which children are watched; with the attempt's number where they belong to one."""
    labels = {contract.JOB_LABEL: job.key.name, contract.JOB_UID_LABEL: job.uid}
    return labels if attempt is None else labels | {contract.ATTEMPT_LABEL: str(attempt)}


def queue_labels(job: Job) -> dict[str, str]:
    """Labels of the job that a queue reads from its RayJob."""
    return {name: value for name, value in job.labels.items() if name.startswith(_QUEUE_PREFIX)}


def metadata_of(job: Job, name: str, attempt: int | None = None) -> dict[str, Any]:
    """A child's metadata. The owner reference does not block the job's deletion: nothing waits for anything."""
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": job.key.name, "uid": job.uid, "controller": True}
    return {
        "name": name,
        "namespace": job.key.namespace,
        "labels": labels_of(job, attempt),
        "ownerReferences": [owner],
    }
