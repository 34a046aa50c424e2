"""A job that is suspended, whose head is killed, or that is deleted, in the middle of its search."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.cluster.jobs import ClusterJob
from tests.cluster.kubectl import KubectlError
from tests.cluster.polling import wait_until

START_SECONDS, RUN_SECONDS, GONE_SECONDS = 240.0, 300.0, 60.0
PAUSE = 1.0
TRIALS, EPOCHS = 6, 8


def long_search() -> dict[str, Any]:
    """Trials long enough to be caught in the middle."""
    return {
        "training": {"epochs": EPOCHS, "batchSize": 2},
        "search": {
            "trials": TRIALS,
            "algorithm": {"name": "random"},
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-3}}],
        },
    }


def ended(job: ClusterJob) -> list[int]:
    """Trials that are over, by the journal."""
    try:
        return [line["trial"] for line in job.journal() if line["event"] == "end"]
    except AssertionError:  # there is no journal yet
        return []


def wait_for_the_middle(job: ClusterJob) -> None:
    """Waits until a trial is over and others are not."""
    wait_until("a trial is over", lambda: None if ended(job) else "none", START_SECONDS, PAUSE)


def assert_each_trial_once(job: ClusterJob) -> None:
    """No epoch of a finished trial was reported twice, and all trials are there."""
    reported = Counter((line["trial"], line["report"]["epoch"]) for line in job.journal() if line["event"] == "report")
    assert set(reported.values()) == {1}
    assert len(reported) == TRIALS * EPOCHS


def assert_nothing_left(job: ClusterJob) -> None:
    wait_until("no object of the job is left", lambda: " ".join(job.children()) or None, GONE_SECONDS, PAUSE)


def test_a_job_that_is_suspended_goes_on_and_repeats_no_finished_trial(job: ClusterJob) -> None:
    job.create(**long_search())
    wait_for_the_middle(job)
    job.patch(suspend=True)
    job.reaches("Suspended", START_SECONDS)
    wait_until(
        "the pods are gone", lambda: job.namespace.kubectl("get", "rayclusters", "-o", "name") or None, 90, PAUSE
    )
    before = ended(job)
    assert before
    job.patch(suspend=False)
    status = job.reaches("Succeeded", START_SECONDS + RUN_SECONDS)
    assert status["rayJobName"] == "tiny-2"
    assert "restarts" not in status
    assert_each_trial_once(job)


def test_a_job_whose_head_is_killed_goes_on_and_one_that_is_deleted_leaves_nothing(job: ClusterJob) -> None:
    job.create(**long_search())
    wait_for_the_middle(job)
    job.namespace.kubectl("delete", job.head(), "--force", "--grace-period=0")
    job.reaches("Restarting", 60)
    assert job.reasons()["ClusterReady"] == "HeadLost"
    status = job.reaches("Running", START_SECONDS)
    assert (status["rayJobName"], status["restarts"]) == ("tiny-2", {"infrastructure": 1})
    job.namespace.kubectl("delete", "ftj", "tiny")
    assert_nothing_left(job)


def test_a_head_that_is_killed_more_often_than_the_budget_allows_fails_the_job(job: ClusterJob) -> None:
    job.create(**long_search(), restartPolicy={"onInfrastructure": 3})
    for attempt in (1, 2, 3, 4):
        name = f"tiny-{attempt}"

        def no_head(name: str = name) -> str | None:
            try:
                return None if job.head().startswith(f"pod/{name}-") and job.status()["phase"] == "Running" else "other"
            except (KubectlError, ValueError, KeyError) as error:
                return str(error)

        wait_until(f"the driver of {name} runs", no_head, START_SECONDS, PAUSE)
        job.namespace.kubectl("delete", job.head(), "--force", "--grace-period=0")
    status = job.reaches("Failed", 90)
    assert (status["restarts"], status["failure"]["reason"]) == ({"infrastructure": 3}, "HeadLost")
    names = job.namespace.kubectl("get", "rayjobs", "-o", "name").split()
    assert len(names) <= 1
