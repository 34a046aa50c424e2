"""A search that is long enough to be caught in its middle."""

from __future__ import annotations

from typing import Any

from tests.cluster.jobs import ClusterJob
from tests.cluster.polling import wait_until

START_SECONDS = 240.0
PAUSE = 0.5
TRIALS, EPOCHS = 4, 8


def long_search(trials: int = TRIALS) -> dict[str, Any]:
    """Trials long enough to be caught in the middle."""
    return {
        "training": {"epochs": EPOCHS, "batchSize": 2},
        "search": {
            "trials": trials,
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
