"""Phases that end in mid-epoch and rotations, through the loop: what moves in each step, and going on."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.tiny_jobs import Killed, Run, TinyJob, WatchedTask, die_after, run, snapshot
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.schedule import Phase, resolve_schedule

Tensors = dict[str, torch.Tensor]


class SteppedTask(WatchedTask):
    """Remembers all tensors as each training step finds them."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.steps: list[Tensors] = []

    def step(self, model: torch.nn.Module, batch: Any, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task."""
        self.steps.append(snapshot(self.built[0]))
        return super().step(model, batch, device)


def stepped(tiny: TinyJob, changes: dict[str, Any], folder: str) -> tuple[SteppedTask, Run, FineTuneJobSpec]:
    spec = tiny.spec(changes)
    task = SteppedTask(spec, tiny.store(spec))
    told = run(task, spec, Path(folder))
    task.steps.append(task.snapshots[-1])
    return task, told, spec


def moved_in(before: Tensors, after: Tensors) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def phase_list(tiny: TinyJob, spec: FineTuneJobSpec) -> tuple[tuple[Phase, ...], Layout]:
    layout = find_layout(tiny.task(spec).build())
    return resolve_schedule(spec.freezing, spec.training, layout), layout


def surely_moved(names: frozenset[str]) -> set[str]:
    """What every step moves. A key's bias shifts every score of a row alike: its gradient is rounding."""
    return {name for name in names if not name.endswith("key.bias")}


MID_EPOCH = {
    "freezing": {
        "phases": [
            {"name": "head", "train": ["head"], "until": {"steps": 2}},
            {"name": "low", "train": ["head", "blocks[0]"], "until": {"steps": 3}, "lr": {"base": 0.02}},
            {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 1}, "optimizerState": "fresh"},
            {"name": "all", "train": ["all"], "until": {"fraction": 1.0}, "warmup": 3, "restoreBest": True},
        ]
    },
    "training.epochs": 4,
}


def test_a_phase_ends_at_its_step_in_mid_epoch(tiny: TinyJob, folder: str) -> None:
    task, told, spec = stepped(tiny, MID_EPOCH, folder)
    (head, low, top, everything), _ = phase_list(tiny, spec)
    in_epoch = task.steps_per_epoch()
    assert in_epoch > 5, "both boundaries are in the first epoch"
    trained = [head] * 2 + [low] * 3 + [top] * in_epoch
    trained += [everything] * (4 * in_epoch - len(trained))
    assert len(task.steps) == 4 * in_epoch + 1
    restored = 5 + in_epoch
    for number, phase in enumerate(trained):
        if number + 1 == restored:
            continue  # the next phase begins from the best epoch
        moved = moved_in(task.steps[number], task.steps[number + 1])
        assert surely_moved(phase.train) <= moved <= phase.train, number
    assert [report["phase"] for report in told.reports] == ["top", "all", "all", "all"]
    assert [len(report["train_losses"]) for report in told.reports] == [in_epoch] * 4


def test_a_last_phase_of_steps_ends_the_run_in_mid_epoch_and_measures_it(tiny: TinyJob, folder: str) -> None:
    in_epoch = tiny.task(tiny.spec()).steps_per_epoch()
    phases = [{"name": "head", "train": ["head"], "until": {"steps": in_epoch + 2}}]
    _, told, _ = stepped(tiny, {"freezing": {"phases": phases}}, folder)
    assert [len(report["train_losses"]) for report in told.reports] == [in_epoch, 2]
    assert told.reports[-1]["last"]
    assert told.state == "succeeded"
    assert told.reports[-1]["metrics"]["accuracy"] >= 0


def rotating(
    order: str, steps: int = 2, blocks: int = 1, state: str = "fresh", train: tuple[str, ...] = ("head", "blocks")
) -> dict[str, Any]:
    rotate = {"blocks": blocks, "every": {"steps": steps}, "order": order}
    phase = {"name": "turns", "train": list(train), "until": {"fraction": 1.0}, "rotate": rotate}
    return {"freezing": {"phases": [phase | {"optimizerState": state}]}, "training.epochs": 3}


@pytest.mark.parametrize("state", ["keep", "fresh"])
@pytest.mark.parametrize("order", ["random", "shuffled", "ascending", "descending"])
def test_each_turn_moves_its_blocks_and_leaves_the_others_bit_for_bit(
    tiny: TinyJob, folder: str, order: str, state: str
) -> None:
    task, told, spec = stepped(tiny, rotating(order, state=state), folder)
    (phase,), layout = phase_list(tiny, spec)
    assert phase.rotation is not None
    places = set()
    for number in range(len(task.steps) - 1):
        train = phase.rotation.trained_in(number // 2)
        moved = moved_in(task.steps[number], task.steps[number + 1])
        assert surely_moved(train) <= moved <= train, number
        places |= {layout.place[name] for name in moved}
    assert places == {0, 1, 2, 3}, "the blocks, and the head"
    assert told.reports[0]["trainable"] == sum(layout.size[name] for name in phase.rotation.trained_in(0))


@pytest.mark.parametrize(
    "changes",
    [
        MID_EPOCH,
        rotating("random", state="keep"),
        rotating("random", state="fresh"),
        rotating("shuffled", steps=5, state="keep", train=("all",)),
        rotating("ascending", steps=4, blocks=2, state="fresh"),
        {"freezing": {"preset": "lisa"}, "training.epochs": 4},
        {"freezing": {"preset": "ulmfit"}, "training.epochs": 4},
    ],
    ids=["mid-epoch", "keep", "fresh", "shuffled", "two-blocks", "lisa", "ulmfit"],
)
def test_a_trial_that_goes_on_in_the_middle_of_a_phase_is_the_one_that_was_not_interrupted(
    tiny: TinyJob, tmp_path: Path, changes: dict[str, Any]
) -> None:
    spec = tiny.spec(changes)
    whole = tiny.task(spec)
    uninterrupted = run(whole, spec, tmp_path / "whole")
    for epoch in range(1, spec.training.epochs):
        folder = tmp_path / f"after-{epoch}"
        with pytest.raises(Killed):
            run(tiny.task(spec), spec, folder, answer=die_after(epoch))
        rest = tiny.task(spec)
        assert run(rest, spec, folder, reported=epoch).reports == uninterrupted.reports[epoch:]
        assert moved_in(rest.snapshots[-1], whole.snapshots[-1]) == set()


def test_moments_of_a_block_that_returns_are_kept_or_not(still: TinyJob, tmp_path: Path) -> None:
    keep = still.run(still.spec(rotating("ascending", state="keep")), str(tmp_path / "keep"))
    fresh = still.run(still.spec(rotating("ascending", state="fresh")), str(tmp_path / "fresh"))
    first_cycle = 6  # three blocks, two steps each
    found, other = (list(chain.from_iterable(told.losses)) for told in (keep, fresh))
    assert found[: first_cycle + 1] == other[: first_cycle + 1]
    assert found[first_cycle + 1 :] != other[first_cycle + 1 :]


def test_a_phase_with_fresh_state_forgets_moments_of_what_goes_on(still: TinyJob, tmp_path: Path) -> None:
    def curve(state: str) -> list[list[float]]:
        phases = [
            {"name": "a", "train": ["head"], "until": {"epochs": 1}},
            {"name": "b", "train": ["head"], "until": {"epochs": 1}, "optimizerState": state},
        ]
        return still.run(still.spec({"freezing": {"phases": phases}}), str(tmp_path / state)).losses

    keep, fresh = curve("keep"), curve("fresh")
    assert keep[0] == fresh[0]
    assert keep[1][0] == fresh[1][0], "the first loss of a phase is before its first step"
    assert keep[1] != fresh[1]


def test_one_phase_cut_into_two_by_steps_is_that_phase(still: TinyJob, tmp_path: Path) -> None:
    def curve(cut: int | None) -> list[list[float]]:
        rest = {"train": ["head", "blocks[-1:]"], "until": {"fraction": 1.0}}
        phases = [{"name": "rest", **rest}]
        if cut is not None:
            phases.insert(0, {"name": "begin", **rest, "until": {"steps": cut}})
        return still.run(still.spec({"freezing": {"phases": phases}}), str(tmp_path / str(cut))).losses

    for cut in (1, 4, 9):
        assert curve(cut) == curve(None)


def test_a_weight_decay_of_the_phase_takes_the_place_of_the_runs(still: TinyJob, tmp_path: Path) -> None:
    def curve(name: str, run_decay: float, own: dict[str, Any]) -> list[list[float]]:
        phases = [{"name": "a", "train": ["all"], "until": {"fraction": 1.0}, **own}]
        changes = {"freezing": {"phases": phases}, "training.optimizer.weightDecay": run_decay, "training.epochs": 2}
        return still.run(still.spec(changes), str(tmp_path / name)).losses

    assert curve("own", 0.0, {"weightDecay": 0.5}) == curve("run", 0.5, {})
    assert curve("none", 0.5, {"weightDecay": 0.0}) == curve("zero", 0.0, {})


class Watch:
    """A clock that each look moves on by a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


TIMED = {
    "freezing": {
        "phases": [
            {"name": "a", "train": ["head"], "until": {"time": "3s"}},
            {"name": "b", "train": ["all"], "until": {"fraction": 1.0}},
        ]
    },
    "training.epochs": 8,
}


def test_a_phase_of_a_time_ends_after_the_epoch_in_which_it_is_over_and_counts_on_after_an_interruption(
    tiny: TinyJob, tmp_path: Path
) -> None:
    spec = tiny.spec(TIMED)
    whole = run(tiny.task(spec), spec, tmp_path / "whole", clock=Watch())
    phases = [report["phase"] for report in whole.reports]
    last = phases.index("b")
    assert 1 < last < 8
    folder = tmp_path / "cut"
    with pytest.raises(Killed):
        run(tiny.task(spec), spec, folder, answer=die_after(last - 1), clock=Watch())
    rest = run(tiny.task(spec), spec, folder, reported=last - 1, clock=Watch())
    assert [report["phase"] for report in rest.reports] == phases[last - 1 :]
