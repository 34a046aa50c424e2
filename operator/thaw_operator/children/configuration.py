"""The job as an attempt's driver reads it: fixed for the attempt, whatever is edited meanwhile."""

import json
from typing import Any

from thaw_api import contract
from thaw_api.job import API_VERSION, KIND
from thaw_operator.children.ownership import metadata_of
from thaw_operator.observed import Job


def config_map(job: Job, attempt: int) -> dict[str, Any]:
    """The attempt's immutable ConfigMap."""
    assert job.spec is not None
    metadata = {"name": job.key.name, "namespace": job.key.namespace, "uid": job.uid}
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": job.spec.manifest()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(job, contract.attempt_name(job.key.name, attempt), attempt),
        "immutable": True,
        "data": {contract.JOB_FILE: json.dumps(document, indent=2)},
    }
