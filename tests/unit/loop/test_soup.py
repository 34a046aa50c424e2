"""The average of trials, against averages written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.tiny_jobs import TinyJob, run
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import measure_split
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.loop.soup import SOUP_EPOCH, greedy_soup
from thaw_trainer.tasks.protocol import Task

LOSS = {"search.objective": {"metric": "loss"}}


def members(tiny: TinyJob, root: Path, rates: list[float]) -> tuple[Task, Any, list[dict[str, Any]]]:
    """Trials of several rates, the best first."""
    found = []
    for rate in rates:
        spec = tiny.spec(LOSS | {"training.optimizer": {"lr": rate}, "training.epochs": 2})
        told = run(tiny.task(spec), spec, root / str(rate))
        epoch = told.reports[-1]["best_epoch"]
        file = Checkpoints(root / str(rate)).best_file(epoch)
        found.append((told.metrics[epoch - 1]["loss"], {"name": str(rate), "file": str(file)}))
    found.sort(key=lambda each: each[0])
    spec = tiny.spec(LOSS)
    return tiny.task(spec), spec, [member for _, member in found]


def mean_of(task: Task, spec: Any, files: list[str]) -> dict[str, torch.Tensor]:
    """Each tensor's mean in double precision; what a trial has not trained is pristine."""
    pristine = dict(pristine_model(task, spec).state_dict())
    trained = [load_file(file) for file in files]
    names = set().union(*trained)
    return {name: torch.stack([each.get(name, pristine[name]).double() for each in trained]).mean(0) for name in names}


def loss_with(task: Task, spec: Any, tensors: dict[str, torch.Tensor]) -> float:
    model = pristine_model(task, spec)
    model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return measure_split(model, task, "validation", Gang(), spec.training)["loss"]


def test_trials_are_taken_in_as_long_as_validation_gets_better(tiny: TinyJob, tmp_path: Path) -> None:
    task, spec, trials = members(tiny, tmp_path, [0.004, 0.006, 0.009, 1.5])
    told = greedy_soup(task, spec, trials, tmp_path / "soup", Gang())
    files = {trial["name"]: trial["file"] for trial in trials}
    taken, best = [trials[0]["name"]], loss_with(task, spec, mean_of(task, spec, [trials[0]["file"]]))
    assert told["alone"] == pytest.approx(best, abs=1e-5)
    for trial in trials[1:]:
        tried = [*taken, trial["name"]]
        loss = loss_with(task, spec, mean_of(task, spec, [files[name] for name in tried]))
        if loss < best:
            taken, best = tried, loss
    assert told["members"] == taken
    assert told["soup"] == pytest.approx(best, abs=1e-5)
    assert told["tried"] == 4
    if len(taken) > 1:
        kept = load_file(Checkpoints(tmp_path / "soup").best_file(SOUP_EPOCH))
        expected = mean_of(task, spec, [files[name] for name in taken])
        assert all(torch.allclose(kept[name].double(), expected[name], atol=1e-6) for name in kept)


def test_an_average_that_is_worse_is_not_made(tiny: TinyJob, tmp_path: Path) -> None:
    task, spec, trials = members(tiny, tmp_path, [0.006])
    spoiled = {name: tensor + 3.0 for name, tensor in load_file(trials[0]["file"]).items()}
    save_file(spoiled, tmp_path / "spoiled.safetensors")
    bad = {"name": "spoiled", "file": str(tmp_path / "spoiled.safetensors")}
    told = greedy_soup(task, spec, [*trials, bad], tmp_path / "soup", Gang())
    assert (told["members"], told["soup"]) == ([trials[0]["name"]], told["alone"])
    assert not (tmp_path / "soup").exists()


def test_two_trials_on_either_side_of_a_better_one_are_averaged(tiny: TinyJob, tmp_path: Path) -> None:
    task, spec, trials = members(tiny, tmp_path, [0.006])
    good = load_file(trials[0]["file"])
    noise = {
        name: 0.05 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
        for name, tensor in good.items()
    }
    sides = []
    for sign in (1, -1):
        file = tmp_path / f"side{sign}.safetensors"
        save_file({name: tensor + sign * noise[name] for name, tensor in good.items()}, file)
        sides.append({"name": f"side{sign}", "file": str(file)})
    told = greedy_soup(task, spec, sides, tmp_path / "soup", Gang())
    assert told["members"] == ["side1", "side-1"]
    kept = load_file(Checkpoints(tmp_path / "soup").best_file(SOUP_EPOCH))
    assert all(torch.allclose(kept[name], good[name], atol=1e-6) for name in kept)
