"""What goes wrong in a trial is that trial's end, with its reason; the search goes on."""

from __future__ import annotations

import os
import signal

from tests.cluster.polling import wait_until
from tests.run.workspace import Workspace

DIVERGING = {"optimizer": {"name": "sgd", "lr": 1e-3, "weightDecay": 1.0, "momentum": 0.0}, "clipNorm": 0}
"""With a rate of 10, each step multiplies every matrix by -9."""


def test_a_diverging_trial_fails_with_its_reason_and_the_others_go_on(workspace: Workspace) -> None:
    workspace.write(
        training={"epochs": 3, "batchSize": 4} | DIVERGING,
        search={
            "algorithm": {"name": "grid"},
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "choice": {"values": [10, 0.001]}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    diverged, trained = workspace.result()["trials"]
    assert diverged["state"] == "failed"
    assert diverged["failure"]["reason"] == "LossNotFinite"
    assert "spec.training.optimizer.lr" in diverged["failure"]["message"]
    assert trained["state"] == "succeeded"
    assert workspace.result()["best"]["trial"] == trained["name"]


def test_when_all_trials_fail_the_job_fails_and_says_why(workspace: Workspace) -> None:
    workspace.write(
        training={"epochs": 3, "batchSize": 4} | DIVERGING,
        search={
            "algorithm": {"name": "grid"},
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "choice": {"values": [10, 9]}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 1
    result = workspace.result()
    assert result["status"] == "Failed"
    assert result["failure"]["reason"] == "AllTrialsFailed"
    assert "LossNotFinite" in result["failure"]["message"]
    assert "AllTrialsFailed" in outcome.stderr
    assert result["best"] is None
    assert not (workspace.output / "model").exists()
    assert (workspace.output / "report.html").is_file()


def test_a_worker_killed_in_mid_trial_is_that_trials_retry_and_nobody_waits(workspace: Workspace) -> None:
    workspace.write(
        training={"epochs": 8, "batchSize": 2},
        search={
            "trials": 2,
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-3}}],
        },
    )
    run = workspace.start("run")
    wait_until(
        "two epochs", lambda: None if len(workspace.reports()) >= 2 else f"{len(workspace.reports())} reported", 180
    )
    os.kill(workspace.worker_processes()[-1], signal.SIGKILL)
    assert run.wait(timeout=180) == 0, (workspace.folder / "started.log").read_text(encoding="utf-8")
    assert [trial["state"] for trial in workspace.result()["trials"]] == ["succeeded", "succeeded"]
    assert len(workspace.worker_processes()) == 2
    assert "trial 0, attempt 1" in workspace.log()
    trained = workspace.trained()
    assert len(trained) - len(set(trained)) <= 1
    assert sorted(set(trained)) == [(trial, epoch) for trial in range(2) for epoch in range(1, 9)]
