"""The driver on a Ray cluster of several raylets: the results of one machine, and the promised exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.polling import wait_until
from tests.run.raylets import RayCluster, ray_cluster
from tests.run.test_failures import DIVERGING
from tests.run.workspace import Workspace, make_workspace
from thaw_api.contract import ATTEMPT_VARIABLE, EXIT_FAILED, EXIT_INFRASTRUCTURE, EXIT_INVALID

CORES = len(os.sched_getaffinity(0))
CLAIM = "data"
SEARCH = {
    "algorithm": {"name": "random"},
    "trials": 3,
    "parallel": 2,
    "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-4, "max": 1e-2}}],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A head and two workers that share this machine's cores, so that gangs have as many threads as by `thaw run`."""
    # A short path: Ray's sockets lie below it, and a socket's path has at most 107 characters.
    with ray_cluster(tmp_path_factory.mktemp("r"), workers=2, cpus=max(1, CORES // 2)) as running:
        yield running


class Claim:
    """A claim with a workspace on it, and the driver as a pod would run it."""

    def __init__(self, folder: Path, cluster: RayCluster) -> None:
        self.claims, self.cluster = folder / "claims", cluster
        self.workspace: Workspace = make_workspace(self.claims / CLAIM)

    def write(self, **spec: Any) -> None:
        """Writes the manifest for `thaw run`, and the job file of the same spec with URIs of the claim."""
        self.workspace.write(**spec)
        job = yaml.safe_load((self.workspace.folder / "job.yaml").read_text(encoding="utf-8"))
        job["metadata"] |= {"namespace": "research", "uid": "u-1"}
        on_claim = json.dumps(job).replace('"file:', f'"pvc://{CLAIM}/')
        job = json.loads(on_claim)
        job["spec"].setdefault("cluster", {})["workers"] = {"replicas": 2}
        (self.workspace.folder / "job.json").write_text(json.dumps(job), encoding="utf-8")

    def start(self, attempt: int = 1) -> subprocess.Popen[str]:
        """Starts the driver; its output goes to `driver.txt`."""
        files = ["--job", str(self.workspace.folder / "job.json"), "--claims", str(self.claims)]
        with (self.workspace.folder / "driver.txt").open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "thaw_trainer.on_cluster", *files],
                env=self.cluster.environment | {ATTEMPT_VARIABLE: str(attempt)},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def run(self, attempt: int = 1) -> int:
        """Runs the driver to its end; returns its exit code."""
        return self.start(attempt).wait(timeout=240)

    def told(self) -> str:
        """What the driver has printed."""
        return (self.workspace.folder / "driver.txt").read_text(encoding="utf-8")


@pytest.fixture
def claim(tmp_path: Path, cluster: RayCluster) -> Claim:
    return Claim(tmp_path, cluster)


def measured(workspace: Workspace, output: Path) -> dict[str, Any]:
    """What must not depend on where a job runs."""
    result = workspace.result(output)
    kept = {name: result[name] for name in ("status", "objective", "test", "data")}
    kept["best"] = {name: value for name, value in result["best"].items() if name != "seconds"}
    kept["trials"] = [{name: value for name, value in trial.items() if name != "seconds"} for trial in result["trials"]]
    reports = {(line["trial"], line["report"]["epoch"]): line["report"] for line in workspace.reports(output)}
    kept["losses"] = {key: report["train_losses"] for key, report in sorted(reports.items())}
    return kept


@pytest.mark.parametrize("workers", [1, 2], ids=["gangs of one", "a gang over two raylets"])
def test_a_job_on_a_cluster_has_the_results_of_the_same_job_on_one_machine(
    claim: Claim, tmp_path: Path, workers: int
) -> None:
    claim.write(search=SEARCH | {"trials": 3 if workers == 1 else 1}, cluster={"workersPerTrial": workers})
    assert claim.run() == 0, claim.told()
    here = claim.workspace.thaw("run", "--output", str(tmp_path / "here"))
    assert here.returncode == 0, here.stderr
    assert measured(claim.workspace, claim.workspace.output) == measured(claim.workspace, tmp_path / "here")
    assert "2 workers" in claim.told() or workers == 1
    assert "epoch 2/2" in claim.told()
    assert f"{claim.workspace.output / 'model'}" in claim.told()


def test_a_missing_column_is_exit_code_2_with_its_field(claim: Claim) -> None:
    claim.write(
        data={
            "train": {"uri": "file:data.csv"},
            "columns": {"text": "words"},
            "split": {"validation": 0.2, "test": 0.2, "stratifyBy": "label"},
        }
    )
    assert claim.run() == EXIT_INVALID, claim.told()
    assert "failed: ColumnNotFound: spec.data.columns.text: " in claim.told()
    assert not (claim.workspace.output / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("uri", "hint"), [("pvc://data/none.csv", "nothing is there"), ("pvc://other/a.csv", "not mounted")]
)
def test_a_missing_file_is_exit_code_2_with_its_field(claim: Claim, uri: str, hint: str) -> None:
    claim.write(data={"train": {"uri": uri}})
    assert claim.run() == EXIT_INVALID, claim.told()
    assert f"failed: DataNotFound: spec.data.train.uri: {uri}" in claim.told()
    assert hint in claim.told()


def test_a_job_that_cannot_be_read_is_exit_code_2(claim: Claim) -> None:
    claim.write(training={"epoch": 2})
    assert claim.run() == EXIT_INVALID
    assert "failed: InvalidManifest: spec.training.epoch: " in claim.told()


def test_a_job_whose_trials_all_fail_is_exit_code_1(claim: Claim) -> None:
    claim.write(
        training={"epochs": 2, "batchSize": 4} | DIVERGING,
        search={
            "algorithm": {"name": "grid"},
            "parallel": 2,
            "parameters": [{"path": "training.optimizer.lr", "choice": {"values": [10, 9]}}],
        },
    )
    assert claim.run() == EXIT_FAILED, claim.told()
    assert "failed: AllTrialsFailed: " in claim.told()
    assert claim.workspace.result()["status"] == "Failed"


def test_a_driver_that_is_ended_is_infrastructure_and_the_next_attempt_goes_on(claim: Claim) -> None:
    claim.write(training={"epochs": 6, "batchSize": 2}, search=SEARCH | {"parallel": 1})
    driver = claim.start()

    def missing() -> str | None:
        ended = sum(line["event"] == "end" for line in claim.workspace.journal())
        return None if ended >= 1 and len(claim.workspace.reports()) >= 8 else claim.told()

    wait_until("the middle of the search", missing, seconds=180)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=60) == EXIT_INFRASTRUCTURE
    over = [line["trial"] for line in claim.workspace.journal() if line["event"] == "end"]
    assert claim.run(attempt=2) == 0, claim.told()
    assert all(f"trial-{trial:04}  epoch" not in claim.told() for trial in over)
    assert [trial["epochs"] for trial in claim.workspace.result()["trials"]] == [6, 6, 6]
    assert len(claim.workspace.trained()) - 18 <= 1
