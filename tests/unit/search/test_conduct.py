"""Which checkpoints a search keeps while it goes on, and which trials share one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job, parameter
from tests.unit.freezing.test_selectors import layout_of
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.search.conduct import open_ledger, shared_first_phases
from thaw_trainer.search.journal import Journal, TrialRecord
from thaw_trainer.search.ledger import Ledger


class FirstPhase:
    """As much of a prepared job as a ledger asks for."""

    first_phase = 1
    earlier = ()


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


def searched(parameters: list[dict[str, Any]], **head: Any) -> FineTuneJobSpec:
    phases = [
        {"name": "head", "train": ["head"], "until": {"epochs": 1}, **head},
        {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"fraction": 1.0}},
    ]
    search = {"trials": 4, "parameters": parameters}
    return FineTuneJobSpec.model_validate(job({"search": search, "freezing": {"phases": phases}})["spec"])


RATE, SEED = parameter("training.optimizer.lr"), parameter("training.seed", choice={"values": [1, 2, 3]})


def shared(spec: FineTuneJobSpec, points: list[dict[str, Any]]) -> dict[int, str]:
    return shared_first_phases(spec, layout_of(4), dict(enumerate(points)))


def test_trials_that_differ_later_share_their_first_phase() -> None:
    spec = searched([RATE], lr={"base": 0.001})
    found = shared(spec, [{"training.optimizer.lr": rate} for rate in (0.001, 0.002, 0.004)])
    assert found.keys() == {0, 1, 2}
    assert len(set(found.values())) == 1


def test_trials_that_differ_in_it_do_not() -> None:
    assert shared(searched([RATE]), [{"training.optimizer.lr": rate} for rate in (0.001, 0.002)]) == {}


def test_only_trials_with_another_like_them_share() -> None:
    points = [{"training.seed": seed} for seed in (1, 2, 1, 3)]
    assert shared(searched([SEED]), points).keys() == {0, 2}


def test_a_point_that_does_not_go_together_shares_nothing() -> None:
    path = "freezing.phases[1].train[1]"
    spec = searched([parameter(path, choice={"values": ["blocks[-1:]", "blocks[9]"]})])
    assert shared(spec, [{path: "blocks[-1:]"}, {path: "blocks[9]"}, {path: "blocks[-1:]"}]).keys() == {0, 2}


def test_trials_of_several_models_share_nothing() -> None:
    spec = searched([parameter("model.uri", choice={"values": ["pkg://one/model", "pkg://two/model"]})])
    assert shared(spec, [{"model.uri": "pkg://one/model"}] * 2) == {}
