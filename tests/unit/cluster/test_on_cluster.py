"""What an attempt reports and how it ends, where it ends before Ray is needed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job
from thaw_api.contract import EXIT_INFRASTRUCTURE, EXIT_INVALID
from thaw_trainer import on_cluster
from thaw_trainer.cluster.attempt import Attempt
from thaw_trainer.cluster.pacing import Answer, Outcome, Report
from thaw_trainer.outputs.folder import OutputFolder


class Place:
    """A pod's folders, and the reports that its driver sends."""

    def __init__(self, folder: Path) -> None:
        self.file, self.claims = folder / "job.json", folder / "claims"
        (self.claims / "data" / "model").mkdir(parents=True)
        (self.claims / "data" / "model" / "config.json").write_text("{}")
        self.reports: list[Report] = []

    def write(self, **changes: Any) -> None:
        """Writes the job file; `changes` by path, with __ for a dot."""
        uris = {"model.uri": "pvc://data/model", "output.uri": "pvc://data/out", "data.train.uri": "pvc://data/a.csv"}
        document = job(uris | {path.replace("__", "."): value for path, value in changes.items()})
        document["metadata"] |= {"namespace": "research", "uid": "u-1"}
        self.file.write_text(json.dumps(document))

    def run(self, attempt: int = 2) -> int:
        return on_cluster.run_attempt(self.file, self.claims, attempt)

    def send(self, report: Report) -> Outcome:
        self.reports.append({name: value for name, value in report.items() if name != "lastUpdatedTime"})
        return Outcome(Answer.DELIVERED)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)

    def open_sender(attempt: Attempt) -> Any:
        assert (attempt.name, attempt.namespace, attempt.uid) == ("sections", "research", "u-1")
        return place.send

    monkeypatch.setattr(on_cluster, "open_sender", open_sender)
    # The driver logs into its output folder; other tests do not.
    monkeypatch.setattr(logging.getLogger("thaw"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("thaw"), "propagate", False)
    return place


def test_a_missing_file_is_reported_with_its_field_and_the_attempt(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write()
    assert place.run() == EXIT_INVALID
    failure = place.reports[-1]["failure"]
    assert (failure["attempt"], failure["cause"], failure["reason"]) == (2, "user", "DataNotFound")
    assert failure["message"].startswith("spec.data.train.uri: pvc://data/a.csv names ")
    assert place.reports[-1]["progressPercentage"] == 0
    assert place.reports[-1]["trials"]["total"] == 1, "the beginning was reported, or is part of the end"
    assert "failed: DataNotFound: spec.data.train.uri: " in capsys.readouterr().out


def test_a_manifest_that_is_no_good_is_reported_with_every_field(place: Place) -> None:
    place.write(training__epochs="many", model__adapter={"method": "lora"})
    assert place.run() == EXIT_INVALID
    (report,) = place.reports
    assert report["failure"]["reason"] == "InvalidManifest"
    assert "spec.training.epochs: " in report["failure"]["message"]
    assert report["jobUID"] == "u-1"


@pytest.mark.parametrize("uri", ["pvc://other/out", "pvc://data/../out", "s3://bucket/out"])
def test_an_output_that_is_no_good_is_reported(place: Place, uri: str) -> None:
    place.write(output__uri=uri)
    assert place.run() == EXIT_INVALID
    assert place.reports[-1]["failure"]["message"].startswith("spec.output.uri: ")


def test_an_output_that_the_last_attempt_still_holds_is_infrastructure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr(on_cluster, "OUTPUT_SECONDS", 0.0)
    place.write()
    with OutputFolder(place.claims / "data" / "out").locked():
        assert place.run() == EXIT_INFRASTRUCTURE
    assert place.reports[-1]["failure"]["cause"] == "infrastructure"
    assert "another run is writing" in place.reports[-1]["failure"]["message"]
    assert len(pauses) == 1


def test_an_error_that_nobody_foresaw_is_infrastructure(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ConnectionError("the network is gone")

    monkeypatch.setattr(on_cluster, "run_job", broken)
    place.write()
    assert place.run() == EXIT_INFRASTRUCTURE
    assert place.reports[-1]["failure"] == {
        "attempt": 2,
        "cause": "infrastructure",
        "reason": "DriverError",
        "message": "ConnectionError: the network is gone",
    }


def test_a_result_is_reported_with_what_the_file_says(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {
        "status": "Succeeded",
        "best": {"trial": "trial-0000", "metrics": {"accuracy": 0.8}, "parameters": {}},
        "objective": {"metric": "accuracy", "mode": "max"},
        "test": {"accuracy": 0.75, "mcc": None},
        "seconds": {"total": 70.0},
        "warnings": [],
    }
    monkeypatch.setattr(on_cluster, "run_job", lambda *args: result)
    place.write()
    assert place.run() == 0
    (report,) = place.reports
    assert report["progressPercentage"] == 100
    assert report["result"] == {
        "uri": "pvc://data/out",
        "metrics": [{"name": "accuracy", "value": "0.75"}, {"name": "mcc", "value": "nan"}],
    }


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"metadata": {"name": "a"}}'])
def test_a_job_file_that_says_nothing_is_refused(
    place: Place, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        place.file.write_text(content)
    assert place.run() == EXIT_INVALID
    assert place.reports == []
    assert f"failed: {place.file}: " in capsys.readouterr().out
