"""Trials that have their first phase in common train it once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.tiny_jobs import Killed, Report, Run, TinyJob, WatchedTask, die_after, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.loop.first_phase import first_phase_key

HEAD = {"name": "head", "train": ["head"], "until": {"epochs": 2}, "lr": {"base": 0.02}}


def then(depth: int = 1, **changes: Any) -> dict[str, Any]:
    """Two epochs of the head, then more."""
    top = {"name": "top", "train": ["head", f"blocks[-{depth}:]"], "until": {"fraction": 1.0}, "restoreBest": True}
    return {"freezing": {"phases": [HEAD, top | changes]}}


class CountedTask(WatchedTask):
    """Counts training steps."""

    steps = 0

    def step(self, *args: Any) -> Any:
        """See Task."""
        self.steps += 1
        return super().step(*args)


def trial(
    tiny: TinyJob, changes: dict[str, Any], folder: Path, shared: Path | None = None, answer: Any = lambda report: True
) -> tuple[Run, CountedTask]:
    spec = tiny.spec(changes)
    task = CountedTask(spec, tiny.store(spec))
    return run(task, spec, folder, first_phase=shared, answer=answer), task


def numbers(told: Run) -> list[Report]:
    """What a trial told, but for times, the cache and who trained it."""
    return [
        {name: value for name, value in report.items() if name not in ("started", "ended", "prefix", "shared")}
        for report in told.reports
    ]


@pytest.mark.parametrize("changes", [then(2), then(1, restoreBest=False), then(1, optimizerState="fresh")])
def test_the_second_trial_goes_on_from_the_firsts_first_phase_bit_for_bit(
    tiny: TinyJob, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shared = tmp_path / "first-phase"
    first, _ = trial(tiny, then(), tmp_path / "first", shared)
    alone, whole = trial(tiny, changes, tmp_path / "alone")
    second, rest = trial(tiny, changes, tmp_path / "second", shared)
    assert [report["shared"] for report in second.reports] == [True, True, False, False]
    assert not any(report["shared"] for report in first.reports)
    assert numbers(second) == numbers(alone)
    assert 2 * rest.steps == whole.steps


def test_a_shared_epoch_takes_no_time_and_no_look_into_the_cache(tiny: TinyJob, tmp_path: Path) -> None:
    trial(tiny, then(), tmp_path / "first", tmp_path / "shared")
    second, _ = trial(tiny, then(2), tmp_path / "second", tmp_path / "shared")
    assert [report["ended"] - report["started"] for report in second.reports[:2]] == [0, 0]
    assert [report["prefix"] for report in second.reports[:2]] == [{}, {}]


def test_a_trial_that_is_stopped_in_its_first_phase_leaves_nothing(tiny: TinyJob, tmp_path: Path) -> None:
    trial(tiny, then(), tmp_path / "first", tmp_path / "shared", answer=lambda report: False)
    assert not (tmp_path / "shared").exists()


def test_an_interrupted_trial_goes_on_with_its_own(tiny: TinyJob, tmp_path: Path) -> None:
    trial(tiny, then(), tmp_path / "other", tmp_path / "shared")
    trial(tiny, then(2), tmp_path / "own", answer=lambda report: report["epoch"] < 3)
    told, task = trial(tiny, then(2), tmp_path / "own", tmp_path / "shared")
    assert not any(report["shared"] for report in told.reports)
    assert task.steps == len(told.losses[-1])


def test_a_trial_that_is_stopped_in_a_shared_epoch_has_the_tensors_of_its_best(tiny: TinyJob, tmp_path: Path) -> None:
    trial(tiny, then(), tmp_path / "first", tmp_path / "shared")
    told, _ = trial(tiny, then(2), tmp_path / "second", tmp_path / "shared", answer=lambda report: False)
    assert [report["epoch"] for report in told.reports] == [1]
    assert (tmp_path / "second" / f"best-{told.reports[-1]['best_epoch']:04}.safetensors").is_file()


def test_after_the_phase_only_one_best_is_kept(tiny: TinyJob, tmp_path: Path) -> None:
    for name, depth in (("first", 1), ("second", 2)):
        trial(tiny, then(depth), tmp_path / name, tmp_path / "shared")
        assert len(list((tmp_path / name).glob("best-*"))) == 1


def test_epochs_stay_shared_when_the_process_dies_while_it_reports_them(tiny: TinyJob, tmp_path: Path) -> None:
    trial(tiny, then(), tmp_path / "first", tmp_path / "shared")
    with pytest.raises(Killed):
        trial(tiny, then(2), tmp_path / "second", tmp_path / "shared", answer=die_after(1))
    told, _ = trial(tiny, then(2), tmp_path / "second", tmp_path / "shared")
    assert [report["shared"] for report in told.reports] == [True, True, False, False]
    first, _ = trial(tiny, then(2), tmp_path / "again")
    assert not any(report["shared"] for report in first.reports)


def test_a_trial_that_died_before_it_left_its_phase_leaves_it_later(tiny: TinyJob, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trial(tiny, then(), tmp_path / "first", answer=die_after(2))  # as if it had died before leaving it
    trial(tiny, then(), tmp_path / "first", tmp_path / "shared")
    assert (tmp_path / "shared" / "epoch-0002").is_dir()


def test_a_place_that_cannot_be_written_shares_nothing_and_spoils_nothing(
    tiny: TinyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thaw_trainer.loop.first_phase.shutil.copytree", full)
    told, _ = trial(tiny, then(), tmp_path / "first", tmp_path / "shared")
    assert told.state == "succeeded"
    assert not (tmp_path / "shared").exists()


def test_what_others_leave_at_the_same_time_is_whole(tiny: TinyJob, tmp_path: Path) -> None:
    shared = tmp_path / "shared"

    def another_is_faster(report: Report) -> bool:
        if report["epoch"] == 1:
            trial(tiny, then(), tmp_path / "faster", shared)
        return True

    trial(tiny, then(2), tmp_path / "first", shared, answer=another_is_faster)
    *bests, newest = sorted(path.name for path in shared.iterdir())
    assert bests
    assert newest == "epoch-0002"
    assert not list(tmp_path.glob("shared.*"))


def key(tiny: TinyJob, changes: dict[str, Any]) -> str | None:
    spec: FineTuneJobSpec = tiny.spec(changes)
    return first_phase_key(spec, find_layout(tiny.task(spec).build()))


@pytest.mark.parametrize(
    "changes",
    [
        then(2),
        then(1, lr={"base": 0.5}),
        then() | {"training.optimizer": {"lr": 0.5}},
        then() | {"training.earlyStopping": {"patience": 1}},
        then() | {"search.trials": 9},
    ],
)
def test_what_acts_later_makes_no_other_first_phase(tiny: TinyJob, changes: dict[str, Any]) -> None:
    assert key(tiny, changes) == key(tiny, then())


@pytest.mark.parametrize(
    "changes",
    [
        {"training.seed": 1},
        {"training.batchSize": 4},
        {"training.epochs": 5},  # the rate falls over the whole run
        {"training.optimizer": {"lr": 0.01, "weightDecay": 0.5}},
        {"training.clipNorm": 0.5},
        {"search.objective": {"metric": "f1"}},
        {"model.head": {"dropout": 0.5}},
        {"freezing.phases[0].lr.base": 0.03},
        {"freezing.phases[0].until": {"epochs": 1}},
        {"freezing.frozenDropout": "on"},
    ],
)
def test_what_acts_in_it_does(tiny: TinyJob, changes: dict[str, Any]) -> None:
    assert key(tiny, _with(then(), changes)) != key(tiny, then())


def _with(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    freezing = {**base["freezing"], "phases": [dict(phase) for phase in base["freezing"]["phases"]]}
    rest = dict(changes)
    if "freezing.phases[0].lr.base" in rest:
        freezing["phases"][0]["lr"] = {"base": rest.pop("freezing.phases[0].lr.base")}
    if "freezing.phases[0].until" in rest:
        freezing["phases"][0]["until"] = rest.pop("freezing.phases[0].until")
    if "freezing.frozenDropout" in rest:
        freezing["frozenDropout"] = rest.pop("freezing.frozenDropout")
    return {"freezing": freezing, **rest}


def test_presets_of_several_depths_have_their_first_phase_in_common(tiny: TinyJob) -> None:
    shallow, deep = ({"freezing": {"preset": "gradual", "depth": depth}} for depth in (1, 3))
    assert key(tiny, shallow) == key(tiny, deep)


def test_one_phase_is_not_shared(tiny: TinyJob) -> None:
    assert key(tiny, {"freezing": {"preset": "head-only"}}) is None
