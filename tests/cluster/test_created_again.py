"""A job that is deleted and created again under its name while the old one's driver still runs."""

from __future__ import annotations

import json

import pytest

from tests.cluster.audit import changes
from tests.cluster.conftest import TestCluster
from tests.cluster.deployments import KUBERAY, Deployment
from tests.cluster.jobs import NAME, ClusterJob, workers
from tests.cluster.long_search import START_SECONDS, ended, long_search, wait_for_the_middle
from tests.cluster.polling import wait_until
from thaw_api.contract import trainer_account

TOLD_SECONDS, RUN_SECONDS = 60.0, 240.0
PAUSE = 0.5
# Enough for what is to happen while it goes on.
SEARCH = {**long_search(trials=3), "cluster": {"workers": workers(1)}}
ACCOUNT = trainer_account(NAME)
KEPT = [f"serviceaccount/{ACCOUNT}", f"rolebinding/{ACCOUNT}"]


@pytest.fixture
def kuberay(cluster: TestCluster) -> Deployment:
    return Deployment.of(cluster.api, KUBERAY)


def keep(job: ClusterJob, kept: bool) -> None:
    """Whether the driver's account and its rights outlive the job, so that its reports reach the admission policy."""
    finalizers = ["thaw.test/kept"] if kept else None
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    job.namespace.kubectl("patch", *KEPT, "--type=merge", "-p", patch)


def refused(cluster: TestCluster, job: ClusterJob) -> int:
    """How many of the drivers' reports the apiserver has refused."""
    assert cluster.audit_log is not None
    found = changes(cluster.audit_log, job.namespace.name)
    return sum(one.account == ACCOUNT and one.status >= 400 for one in found)


def test_a_job_that_is_created_again_hears_nothing_of_the_old_driver_and_succeeds(
    cluster: TestCluster, job: ClusterJob, kuberay: Deployment
) -> None:
    job.create(**SEARCH)
    wait_for_the_middle(job)
    old = job.namespace.get("ftj", NAME)["metadata"]["uid"]
    assert job.status()["training"]["jobUID"] == old
    # KubeRay, which would stop the old driver at once, is away for as long as that driver is to be heard.
    with kuberay.away():
        keep(job, True)
        job.namespace.kubectl("delete", "ftj", NAME)
        over = len(ended(job))
        job.create(**SEARCH)
        job.explains("WaitingForTeardown", TOLD_SECONDS)
        wait_until(
            "the old driver has ended another trial",
            lambda: None if len(ended(job)) > over else "none",
            RUN_SECONDS,
            PAUSE,
        )
        if cluster.audit_log is not None:
            wait_until(
                "a report of the old driver has been refused",
                lambda: None if refused(cluster, job) else "none",
                TOLD_SECONDS,
                PAUSE,
            )
        status = job.status()
        assert (status["phase"], status.get("training")) == ("Queued", None)
        keep(job, False)
    job.reaches("Running", START_SECONDS)
    status = job.reaches("Succeeded", RUN_SECONDS)
    assert status["rayJobName"] == f"{NAME}-1"
    assert "restarts" not in status
    new = job.namespace.get("ftj", NAME)["metadata"]["uid"]
    assert status["training"]["jobUID"] == new != old
