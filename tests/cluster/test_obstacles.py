"""What keeps a job from running is told within a minute; corrected, the job goes on."""

from __future__ import annotations

import json

from tests.cluster.jobs import NAME, ClusterJob, workers
from tests.cluster.polling import wait_until

TOLD_SECONDS, RUN_SECONDS, GONE_SECONDS = 60.0, 300.0, 60.0


def test_an_image_that_cannot_be_pulled_is_told_and_corrected_while_suspended(job: ClusterJob) -> None:
    job.create(cluster={"image": "localhost:1/none:1", "workers": workers(1)})
    message = job.explains("ImagePullFailed", TOLD_SECONDS)
    assert "localhost:1/none:1" in message
    job.patch(suspend=True)
    job.reaches("Suspended", TOLD_SECONDS)
    job.patch(cluster={"image": None})
    job.patch(suspend=False)
    job.reaches("Running", RUN_SECONDS)
    # Deleted in the middle, it leaves nothing.
    job.namespace.kubectl("delete", "ftj", NAME)
    wait_until("no object of the job is left", lambda: " ".join(job.children()) or None, GONE_SECONDS, 1.0)


def test_resources_that_no_node_has_are_told(claimed_job: ClusterJob) -> None:
    claimed_job.create(cluster={"workers": {"resources": {"cpu": "500", "memory": "2Gi"}}})
    assert "Insufficient cpu" in claimed_job.explains("Unschedulable", TOLD_SECONDS)


def test_a_claim_that_is_missing_is_told_and_once_it_is_there_the_job_starts(claimed_job: ClusterJob) -> None:
    claimed_job.create(output={"uri": "pvc://later/out"})
    assert "the PersistentVolumeClaim later does not exist" in claimed_job.explains("ClaimNotFound", TOLD_SECONDS)
    claimed_job.prepare(claim="later")
    claimed_job.reaches("Starting", TOLD_SECONDS)


def test_a_claim_for_a_single_pod_is_told(claimed_job: ClusterJob) -> None:
    claimed_job.prepare(claim="single", access="ReadWriteOncePod")
    claimed_job.create(output={"uri": "pvc://single/out"})
    assert "ReadWriteOncePod" in claimed_job.explains("ClaimNotShareable", TOLD_SECONDS)


def test_what_only_the_data_can_refute_fails_with_its_field(job: ClusterJob) -> None:
    data = job.manifest()["spec"]["data"] | {"columns": {"text": "sentence", "label": "label"}}
    job.create(data=data, cluster={"workers": workers(1)})
    status = job.reaches("Failed", RUN_SECONDS)
    assert "spec.data.columns.text" in status["failure"]["message"]
    assert "restarts" not in status
    assert status["training"]["failure"]["cause"] == "user"
    assert len(status["failure"]["logTail"].encode()) <= 4096


def test_a_manifest_that_the_schema_refuses_never_reaches_the_operator(claimed_job: ClusterJob) -> None:
    refused = {
        "a name that is too long": {"metadata": {"name": "a" * 41}},
        "a local file": {"spec": claimed_job.manifest()["spec"] | {"output": {"uri": "file:out"}}},
    }
    for manifest in refused.values():
        answer = claimed_job.namespace.api.kubectl(
            *(f"--namespace={claimed_job.namespace.name}", "create", "-f", "-"),
            input=json.dumps(claimed_job.manifest() | manifest),
            check=False,
        )
        assert answer.returncode != 0
        assert "is invalid" in answer.stderr
    assert NAME not in claimed_job.namespace.kubectl("get", "ftj", "-o", "name")
