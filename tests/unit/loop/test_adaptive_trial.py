"""Adaptive freezing through the loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.loop.test_stages import moved_in, phase_list, stepped, surely_moved
from tests.unit.tiny_jobs import Killed, TinyJob, die_after, run


def adapting(every: dict[str, int], **changes: Any) -> dict[str, Any]:
    phase = {"name": "all", "train": ["all"], "until": {"fraction": 1.0}, "adaptive": {"every": every}}
    return {"freezing": {"phases": [phase]}, "training.epochs": 5} | changes


EVERY = adapting({"steps": 4})


def test_places_freeze_from_the_bottom_up_and_then_stand_still_bit_for_bit(tiny: TinyJob, folder: str) -> None:
    task, told, spec = stepped(tiny, EVERY, folder)
    (phase,), layout = phase_list(tiny, spec)
    assert phase.adaptive is not None
    frozen = 0
    counts = []
    for number in range(len(task.steps) - 1):
        moved = moved_in(task.steps[number], task.steps[number + 1])
        lowest = min(layout.place[name] for name in surely_moved(frozenset(moved)))
        assert lowest + 1 >= frozen, "what was frozen does not move again"
        if number % 4 != 0:
            assert lowest + 1 == frozen, "only an interval's end freezes"
        frozen = lowest + 1
        counts.append(frozen)
        assert surely_moved(phase.trained_in(frozen)) <= moved <= phase.trained_in(frozen)
    assert set(counts[:8]) == {0}, "the first two intervals are compared"
    assert counts[-1] > 0
    assert told.reports[-1]["trainable"] == sum(layout.size[name] for name in phase.trained_in(counts[-1]))


def test_norms_are_those_of_the_summed_gradients(still: TinyJob, folder: str) -> None:
    """Plain SGD at a constant rate moves a tensor by the rate times the summed gradients."""
    settings = {
        "training.optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.0, "weightDecay": 0.0},
        "training.schedule": {"name": "constant", "warmup": 0.0},
        "training.clipNorm": 0.0,
    }
    task, _, spec = stepped(still, adapting({"epochs": 1}, **settings) | {"training.epochs": 1}, folder)
    (phase,), _ = phase_list(still, spec)
    assert phase.adaptive is not None
    state = json.loads((Path(folder) / "epoch-0001" / "state.json").read_text(encoding="utf-8"))
    # The last epoch of a run is an interval like any other.
    first, last = task.steps[0], task.steps[-1]
    expected = [
        float(torch.stack([((first[name] - last[name]) / 0.05).norm() for name in place]).norm())
        for place in phase.adaptive.places
    ]
    assert state["progress"]["norms"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("every", [{"steps": 4}, {"steps": 7}, {"epochs": 1}])
def test_a_trial_that_goes_on_within_an_interval_is_the_one_that_was_not_interrupted(
    tiny: TinyJob, tmp_path: Path, every: dict[str, int]
) -> None:
    spec = tiny.spec(adapting(every))
    whole = tiny.task(spec)
    uninterrupted = run(whole, spec, tmp_path / "whole")
    for epoch in range(1, 5):
        folder = tmp_path / f"after-{epoch}"
        with pytest.raises(Killed):
            run(tiny.task(spec), spec, folder, answer=die_after(epoch))
        rest = tiny.task(spec)
        assert run(rest, spec, folder, reported=epoch).reports == uninterrupted.reports[epoch:]
        assert moved_in(rest.snapshots[-1], whole.snapshots[-1]) == set()


def test_the_next_phase_trains_what_it_says(tiny: TinyJob, folder: str) -> None:
    changes = adapting({"steps": 2})
    first = changes["freezing"]["phases"][0] | {"until": {"steps": 13}}
    then = {"name": "then", "train": ["all"], "until": {"fraction": 1.0}}
    task, _, spec = stepped(tiny, {"freezing": {"phases": [first, then]}, "training.epochs": 3}, folder)
    (_, phase), _ = phase_list(tiny, spec)
    assert surely_moved(phase.train) <= moved_in(task.steps[13], task.steps[14])
