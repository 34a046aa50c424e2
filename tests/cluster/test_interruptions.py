"""A job that is suspended, or whose head is killed, in the middle of its search."""

from __future__ import annotations

from collections import Counter

from tests.cluster.jobs import ClusterJob, workers
from tests.cluster.long_search import EPOCHS, START_SECONDS, TRIALS, ended, long_search, wait_for_the_middle
from tests.cluster.polling import wait_until

RUN_SECONDS, LOST_SECONDS = 300.0, 60.0
PAUSE = 1.0


def assert_each_trial_once(job: ClusterJob) -> None:
    """No epoch of a finished trial was reported twice, and all trials are there."""
    reported = Counter((line["trial"], line["report"]["epoch"]) for line in job.journal() if line["event"] == "report")
    assert set(reported.values()) == {1}
    assert len(reported) == TRIALS * EPOCHS


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


def test_a_head_that_is_killed_four_times_is_followed_by_three_attempts_and_then_the_job_fails(job: ClusterJob) -> None:
    job.create(**long_search(), cluster={"workers": workers(1)}, restartPolicy={"onInfrastructure": 3})
    for attempt in (1, 2, 3, 4):

        def not_running(name: str = f"tiny-{attempt}") -> str | None:
            status = job.status()
            found = (status.get("phase"), status.get("rayJobName"))
            return None if found == ("Running", name) else f"{found}: {status.get('message')}"

        wait_until(f"attempt {attempt} runs", not_running, START_SECONDS, PAUSE)
        job.namespace.kubectl("delete", job.head(), "--force", "--grace-period=0")
        if attempt < 4:
            job.reaches("Restarting", LOST_SECONDS)
            assert job.reasons()["ClusterReady"] == "HeadLost"
    status = job.reaches("Failed", LOST_SECONDS)
    assert (status["restarts"], status["failure"]["reason"]) == ({"infrastructure": 3}, "HeadLost")
    wait_until(
        "no cluster is left", lambda: job.namespace.kubectl("get", "rayclusters", "-o", "name") or None, 90, PAUSE
    )
