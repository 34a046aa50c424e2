"""An operator that is killed in each phase of a job, and one that is away when the job ends."""

from __future__ import annotations

import json

import pytest

from tests.cluster.audit import counted
from tests.cluster.conftest import TestCluster
from tests.cluster.deployments import THAW, Deployment
from tests.cluster.jobs import NAME, ClusterJob, workers
from tests.cluster.long_search import START_SECONDS, long_search, wait_for_the_middle
from tests.cluster.polling import wait_until

TOLD_SECONDS, RUN_SECONDS = 60.0, 240.0
PAUSE = 0.5
# Enough for what is to happen while it goes on.
SEARCH = {**long_search(), "cluster": {"workers": workers(1)}}
OPERATOR_CREATES = ("thaw-operator", "create")


@pytest.fixture
def operator(cluster: TestCluster) -> Deployment:
    return Deployment.of(cluster.api, THAW)


def holds_the_name(job: ClusterJob) -> None:
    """A stranger's object keeps the job in the phase Queued."""
    metadata = {"name": f"{NAME}-1"}
    job.namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"theirs": "1"}})


def knows_the_job(operator: Deployment, pod: str) -> None:
    """Waits until an operator that has just started has looked at a job that runs."""
    line = 'thaw_jobs{phase="Running"} 1.0'
    wait_until(
        "the new operator has seen the job",
        lambda: None if line in operator.metrics(pod).splitlines() else "not yet",
        TOLD_SECONDS,
        PAUSE,
    )


def uids(job: ClusterJob) -> dict[str, str]:
    """uid of each child."""
    kinds = "rayjobs,configmaps,serviceaccounts,rolebindings"
    listed = json.loads(job.namespace.kubectl("get", kinds, "-l", f"thaw.dev/job={NAME}", "-o", "json"))["items"]
    return {f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["uid"] for one in listed}


def test_an_operator_that_is_killed_in_every_phase_ends_the_job_as_if_nothing_had_been(
    cluster: TestCluster, job: ClusterJob, operator: Deployment
) -> None:
    holds_the_name(job)
    job.create(**SEARCH)
    job.explains("NameTaken", TOLD_SECONDS)
    operator.kill()
    job.namespace.kubectl("delete", "configmap", f"{NAME}-1")
    job.reaches("Starting", TOLD_SECONDS)
    children = uids(job)
    operator.kill()
    wait_for_the_middle(job)
    job.reaches("Running", START_SECONDS)
    started = operator.kill()
    knows_the_job(operator, started)
    assert all(isinstance(json.loads(line), dict) for line in operator.log(started))
    with operator.away():
        job.namespace.wait_for("rayjob", f"{NAME}-1", ("status", "jobDeploymentStatus"), {"Complete"}, RUN_SECONDS)
        assert job.status()["phase"] == "Running"
    status = job.reaches("Succeeded", TOLD_SECONDS)
    assert status["rayJobName"] == f"{NAME}-1"
    assert "restarts" not in status
    assert len(children) == 4
    assert uids(job) == children
    test = {metric["name"]: float(metric["value"]) for metric in status["training"]["result"]["metrics"]}
    assert test == json.loads(job.read("out/result.json"))["test"]
    assert_created_once(cluster, job)


def assert_created_once(cluster: TestCluster, job: ClusterJob) -> None:
    """Four children, each in one request; no Event twice."""
    if cluster.audit_log is not None:
        writes = counted(cluster.audit_log, job.namespace.name)
        created = {
            resource: count for (who, verb, resource), count in writes.items() if (who, verb) == OPERATOR_CREATES
        }
        created.pop("events")
        assert created == {"serviceaccounts": 1, "rolebindings": 1, "configmaps": 1, "rayjobs": 1}
    events = json.loads(job.namespace.kubectl("get", "events", "-o", "json"))["items"]
    ours = sorted(event["reason"] for event in events if event["involvedObject"]["kind"] == "FineTuneJob")
    assert ours == sorted(set(ours))
