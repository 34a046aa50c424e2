"""The commands that speak to a cluster, against a real apiserver."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import Api
from tests.manifests import job, text

THAW = Path(sys.executable).with_name("thaw")
NAME = "sections"
TRAINING = {
    "progressPercentage": 40,
    "estimatedRemainingSeconds": 125,
    "summary": {"trials": "1/4", "best": "accuracy 0.91"},
    "trials": {"total": 4, "running": 1, "succeeded": 1},
    "bestTrial": {
        "name": "trial-0001",
        "metric": {"name": "accuracy", "value": "0.91"},
        "parameters": [{"path": "training.optimizer.lr", "value": "0.001"}],
    },
    "trialTable": [
        {"name": "trial-0001", "state": "succeeded", "epoch": 3, "metric": {"name": "accuracy", "value": "0.91"}}
    ],
    "freezing": {"phase": "head", "trainableParameters": 4000, "totalParameters": 22000000},
}
RESULT = {"uri": "pvc://models/sections", "metrics": [{"name": "accuracy", "value": "0.9"}]}


@dataclass(frozen=True)
class Shell:
    """`thaw` in a namespace of its own."""

    api: Api
    namespace: str
    folder: Path

    def thaw(self, *arguments: str, code: int = 0) -> str:
        """Standard output; standard error is appended when it failed as it should."""
        done = subprocess.run(
            [str(THAW), *arguments, "-n", self.namespace],
            env={**os.environ, "KUBECONFIG": str(self.api.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    def submit(self) -> None:
        file = self.folder / "job.yaml"
        file.write_text(text(job()), encoding="utf-8")
        self.thaw("submit", str(file))

    def status(self, **status: Any) -> None:
        """The job's status is now this."""
        patch = json.dumps({"status": status})
        flags = ["-n", self.namespace, "--subresource=status", "--type=merge", "-p", patch]
        self.api.kubectl("patch", "ftj", NAME, *flags)


@pytest.fixture
def shell(api: Api, crd: str, tmp_path: Path) -> Iterator[Shell]:
    namespace = f"cli-{uuid.uuid4().hex[:8]}"
    api.kubectl("create", "namespace", namespace)
    yield Shell(api, namespace, tmp_path)
    api.kubectl("delete", "ftj", "--all", "-n", namespace)


def test_a_submitted_job_is_the_manifests(shell: Shell) -> None:
    file = shell.folder / "job.yaml"
    file.write_text(text(job()), encoding="utf-8")
    assert "would be submitted" in shell.thaw("submit", str(file), "--dry-run")
    assert json.loads(shell.thaw("list", "-o", "json")) == []
    made = json.loads(shell.thaw("submit", str(file), "--set", "training.epochs=7", "-o", "json"))
    assert made["spec"]["training"]["epochs"] == 7
    assert "already exists" in shell.thaw("submit", str(file), code=1)


def test_an_invalid_manifest_is_refused_with_its_field_before_the_cluster_sees_it(shell: Shell) -> None:
    file = shell.folder / "job.yaml"
    file.write_text(text(job()), encoding="utf-8")
    assert "spec.training.epochs" in shell.thaw("submit", str(file), "--set", "training.epochs=0", code=2)


def test_jobs_are_listed_with_where_they_stand(shell: Shell) -> None:
    shell.submit()
    shell.status(phase="Running", training=TRAINING)
    title, row = shell.thaw("list").splitlines()
    assert title.split() == ["Name", "Phase", "Progress", "Trials", "Best", "Age"]
    assert row.split()[:6] == ["sections", "Running", "40%", "1/4", "accuracy", "0.91"]
    assert shell.thaw("list", "-o", "name").strip() == "finetunejob.thaw.dev/sections"


def test_a_status_says_all_that_a_person_wants_to_know(shell: Shell) -> None:
    shell.submit()
    failure = {"reason": "ColumnNotFound", "message": "spec.data.columns.text: no", "logTail": "the last line"}
    shell.status(phase="Failed", message="it failed", failure=failure, training=TRAINING)
    shown = shell.thaw("status", NAME)
    for part in ("Failed", "it failed", "ColumnNotFound", "the last line", "4,000 of 22,000,000"):
        assert part in shown
    assert json.loads(shell.thaw("status", NAME, "-o", "json"))["failure"] == failure


@pytest.mark.parametrize(("phase", "told"), [("Running", True), ("Suspended", False), ("Failed", False)])
def test_how_long_is_left_is_told_while_the_driver_runs(phase: str, told: bool, shell: Shell) -> None:
    shell.submit()
    shell.status(phase=phase, training=TRAINING)
    assert ("about 2:05 left" in shell.thaw("status", NAME)) == told


def test_the_best_trial_is_shown_with_its_values(shell: Shell) -> None:
    shell.submit()
    assert "has no best trial yet (Queued)" in shell.thaw("best", NAME, code=1)
    shell.status(phase="Succeeded", training=TRAINING | {"result": RESULT})
    assert "trial-0001: accuracy 0.91 with lr=0.001" in shell.thaw("best", NAME)
    assert json.loads(shell.thaw("best", NAME, "-o", "json"))["result"] == RESULT


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_the_exit_status_of_watch_is_the_jobs_outcome(phase: str, code: int, shell: Shell) -> None:
    shell.submit()
    with subprocess.Popen(
        [str(THAW), "watch", NAME, "-n", shell.namespace],
        env={**os.environ, "KUBECONFIG": str(shell.api.kubeconfig)},
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().strip() == "Queued"
        shell.status(phase="Running", training=TRAINING)
        assert watching.stdout.readline().split() == ["Running", "40%", "1/4", "accuracy", "0.91"]
        shell.status(phase=phase)
        watching.stdout.read()
        assert watching.wait(30) == code


def test_a_job_is_suspended_resumed_and_deleted(shell: Shell) -> None:
    shell.submit()
    assert json.loads(shell.thaw("suspend", NAME, "-o", "json"))["spec"]["suspend"] is True
    assert shell.thaw("resume", NAME).strip() == "sections resumed"
    assert shell.thaw("delete", NAME).strip() == "sections deleted"
    assert "not found" in shell.thaw("status", NAME, code=1)


def test_logs_of_a_cluster_that_is_gone_are_where_the_status_says(shell: Shell) -> None:
    shell.submit()
    shell.status(phase="Queued", message="waiting for quota")
    assert "has no running head now (Queued): waiting for quota" in shell.thaw("logs", NAME, code=1)
    shell.status(phase="Failed", failure={"reason": "X", "message": "x", "logTail": "the last line"})
    assert shell.thaw("logs", NAME).strip() == "the last line"


def test_a_cluster_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(THAW), "list"],
        env={**os.environ, "KUBECONFIG": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no cluster is configured" in done.stderr
