"""Which checkpoints a search keeps while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.search.conduct import open_ledger
from thaw_trainer.search.journal import Journal, TrialRecord
from thaw_trainer.search.ledger import Ledger


class FirstPhase:
    """As much of a prepared job as a ledger asks for."""

    first_phase = 1


@pytest.fixture
def output(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path)


@pytest.fixture
def ledger(output: OutputFolder) -> Ledger:
    search = {"trials": 3, "parameters": [parameter("training.optimizer.lr", uniform={"min": 0.1, "max": 0.9})]}
    spec = FineTuneJobSpec.model_validate(job({"search": search})["spec"])
    prepared: Any = FirstPhase()
    return open_ledger(spec, Journal(output.journal, "job"), prepared, output, lambda event: None)


def begin(ledger: Ledger, output: OutputFolder) -> TrialRecord:
    """A trial that has saved its first epoch."""
    record = ledger.next_trial()
    assert record is not None
    (output.checkpoints(record.name) / "epoch-0001").mkdir(parents=True)
    (output.checkpoints(record.name) / "best-0001.safetensors").touch()
    return record


def report(ledger: Ledger, record: TrialRecord, accuracy: float, last: bool) -> None:
    metrics = {"accuracy": accuracy}
    ledger.report(record.ordinal, {"epoch": 1, "metrics": metrics, "best_epoch": 1, "last": last, "warnings": []})


def test_the_best_trial_that_has_ended_stays_even_behind_one_that_runs(ledger: Ledger, output: OutputFolder) -> None:
    ended, running = begin(ledger, output), begin(ledger, output)
    report(ledger, running, 0.9, last=False)
    report(ledger, ended, 0.5, last=True)
    assert [path.name for path in output.checkpoints(ended.name).iterdir()] == ["best-0001.safetensors"]
    assert (output.checkpoints(running.name) / "epoch-0001").is_dir()


def test_a_trial_that_a_better_one_has_beaten_is_forgotten(ledger: Ledger, output: OutputFolder) -> None:
    worse, better = begin(ledger, output), begin(ledger, output)
    report(ledger, worse, 0.5, last=True)
    report(ledger, better, 0.9, last=True)
    assert not output.checkpoints(worse.name).exists()
    assert (output.checkpoints(better.name) / "best-0001.safetensors").is_file()
