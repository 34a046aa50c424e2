"""A trial that goes on is bit for bit the trial that was not interrupted."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.tiny_jobs import (
    GRADUAL,
    Killed,
    Report,
    Run,
    TinyJob,
    die_after,
    run,
)

REPOSITORY = Path(__file__).parents[3]
SGD = {"training.optimizer": {"name": "sgd", "lr": 0.1}}


RESTORING = {
    "freezing": {
        "phases": [
            {"name": "head", "train": ["head"], "until": {"epochs": 2}},
            {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 2}, "restoreBest": True},
            {"name": "all", "train": ["all"], "until": {"fraction": 1.0}, "restoreBest": True},
        ]
    },
    "training.epochs": 6,
}
SCHEDULES = {"gradual": GRADUAL, "restore-best": RESTORING, "sgd": GRADUAL | SGD, "plain": {}}


@pytest.fixture(scope="module")
def whole(tiny: TinyJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each schedule's run without interruption, with dropout."""
    root = tmp_path_factory.mktemp("whole")
    return {name: tiny.run(tiny.spec(changes), str(root / name)) for name, changes in SCHEDULES.items()}


def cases() -> Iterator[tuple[str, int]]:
    for name, changes in SCHEDULES.items():
        for epoch in range(1, changes.get("training.epochs", 4)):
            yield name, epoch


@pytest.mark.parametrize(("schedule", "epoch"), list(cases()))
def test_a_trial_goes_on_bit_for_bit_after_its_process_died(
    tiny: TinyJob, whole: dict[str, Run], folder: str, schedule: str, epoch: int
) -> None:
    spec = tiny.spec(SCHEDULES[schedule])
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(epoch))
    rest = tiny.run(spec, folder, reported=epoch)
    assert rest.reports == whole[schedule].reports[epoch:]
    assert rest.state == "succeeded"


def test_a_trial_survives_a_death_after_every_epoch(tiny: TinyJob, whole: dict[str, Run], folder: str) -> None:
    spec = tiny.spec(GRADUAL)
    for epoch in range(1, 5):
        with pytest.raises(Killed):
            tiny.run(spec, folder, answer=die_after(epoch), reported=epoch - 1)
    assert tiny.run(spec, folder, reported=4).reports == whole["gradual"].reports[4:]


def test_a_report_that_was_not_noted_is_told_again_and_not_trained_again(
    tiny: TinyJob, whole: dict[str, Run], folder: str
) -> None:
    spec = tiny.spec(GRADUAL)
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(3))
    task = tiny.task(spec)
    told = run(task, spec, Path(folder), reported=1)
    assert told.reports == whole["gradual"].reports[1:]
    assert len(task.snapshots) == 2, "epochs 4 and 5"


def test_a_trial_that_is_stopped_by_a_report_told_again_trains_nothing(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec()
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(2))
    task = tiny.task(spec)
    told = run(task, spec, Path(folder), reported=1, answer=lambda report: False)
    assert (told.state, [report["epoch"] for report in told.reports]) == ("stopped", [2])
    assert task.snapshots == []


def test_a_trial_whose_last_report_was_not_noted_tells_it_and_ends(
    tiny: TinyJob, whole: dict[str, Run], folder: str
) -> None:
    spec = tiny.spec(GRADUAL)
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(5))
    told = tiny.run(spec, folder, reported=4)
    assert (told.reports, told.state) == (whole["gradual"].reports[4:], "succeeded")
    assert tiny.run(spec, folder, reported=5).reports == []


# restoreBest.


def test_restore_best_begins_a_phase_from_the_best_epoch(still: TinyJob, folder: str) -> None:
    """A rate of 5 spoils the model in the second phase."""
    phases: list[dict[str, Any]] = [
        {"name": "good", "train": ["head"], "until": {"epochs": 2}},
        {"name": "bad", "train": ["head", "blocks[-1:]"], "until": {"epochs": 1}, "lr": {"base": 5.0}},
        {"name": "after", "train": ["head"], "until": {"epochs": 1}, "lr": {"base": 1e-9}, "restoreBest": True},
    ]
    base = {"search.objective": {"metric": "loss"}, "training.schedule": {"name": "constant", "warmup": 0.0}}
    spec = still.spec(base | {"freezing": {"phases": phases}})
    task = still.task(spec)
    told = run(task, spec, Path(folder))
    best = told.reports[2]["best_epoch"]
    assert best < 3
    assert told.metrics[2]["loss"] > told.metrics[best - 1]["loss"] + 0.1
    for name, tensor in task.snapshots[best - 1].items():
        assert torch.allclose(tensor, task.snapshots[3][name], atol=1e-6)
    assert told.metrics[3]["loss"] == pytest.approx(told.metrics[best - 1]["loss"], abs=1e-4)


# A used process.


def test_a_used_process_gives_the_losses_of_a_fresh_one_bit_for_bit(tiny: TinyJob, tmp_path: Path) -> None:
    other = tiny.spec({"training.seed": 7, "training.precision": "bfloat16", "training.optimizer.name": "sgd"})
    tiny.run(other, str(tmp_path / "other"))
    with pytest.raises(Killed):
        tiny.run(other, str(tmp_path / "killed"), answer=die_after(1))
    random.random(), np.random.random(), torch.rand(3)
    used = tiny.run(tiny.spec(GRADUAL), str(tmp_path / "used"))
    command = [sys.executable, "-m", "tests.unit.loop.fresh_process"]
    arguments = [str(tiny.root), str(tmp_path / "fresh"), json.dumps(GRADUAL)]
    fresh = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert json.loads(fresh.stdout.splitlines()[-1]) == used.reports


def test_another_seed_is_another_trial(tiny: TinyJob, whole: dict[str, Run], folder: str) -> None:
    told = tiny.run(tiny.spec({"training.seed": 1}), folder)
    assert told.losses[0] != whole["plain"].losses[0]


def test_a_trial_leaves_the_generators_as_it_found_them(tiny: TinyJob, folder: str) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = float(torch.rand(1)), random.random(), float(np.random.random())
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)

    def spoil(report: Report) -> bool:
        torch.rand(7)
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
        return False

    tiny.run(tiny.spec(), folder, answer=spoil)
    assert (float(torch.rand(1)), random.random(), float(np.random.random())) == expected
