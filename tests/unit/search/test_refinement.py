"""A trial that is to be trained once more, and the rows that it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.manifests import job
from tests.unit.tiny_images import TinyImages
from tests.unit.tiny_jobs import Report, TinyJob, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.joined_store import joined_store
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.search.refinement import as_it_was_trained

PLATEAU = [
    {"name": "head", "train": ["head"], "until": {"plateau": {"patience": 1}}},
    {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 2}},
    {"name": "all", "train": ["all"], "until": {"fraction": 1.0}},
]


def reports(*phases: str) -> list[dict[str, Any]]:
    return [{"phase": phase} for phase in phases]


def trial_of(phases: list[dict[str, Any]], **training: Any) -> FineTuneJobSpec:
    changes = {"freezing": {"phases": phases}, "training": {"epochs": 9} | training}
    return FineTuneJobSpec.model_validate(job(changes)["spec"])


def ends(spec: FineTuneJobSpec) -> list[dict[str, Any]]:
    assert spec.freezing.phases is not None
    return [phase.until.manifest() for phase in spec.freezing.phases]


def test_a_phase_that_a_plateau_ended_ends_after_as_many_epochs() -> None:
    spec = trial_of(PLATEAU, earlyStopping={"patience": 1})
    again = as_it_was_trained(spec, reports("head", "head", "head", "top", "top", "all"), 1.25)
    assert again.training.early_stopping is None
    assert again.training.epochs == 9, "rates move as they did"
    assert ends(again) == [{"epochs": 3}, {"epochs": 2}, {"fraction": 1.0}]
    FineTuneJobSpec.model_validate(again.manifest())


def test_a_phase_of_steps_has_more_of_them_where_there_are_more_rows() -> None:
    phases = [
        {"name": "head", "train": ["head"], "until": {"steps": 40}},
        {"name": "top", "train": ["head"], "until": {"all": [{"steps": 80}, {"epochs": 1}]}},
        {"name": "all", "train": ["all"], "until": {"fraction": 1.0}},
    ]
    again = as_it_was_trained(trial_of(phases), reports("head", "top", "all"), 1.25)
    assert ends(again) == [{"steps": 50}, {"all": [{"steps": 100}, {"epochs": 1}]}, {"fraction": 1.0}]


def test_a_phase_that_passed_within_an_epoch_stays_and_one_that_was_never_reached_goes() -> None:
    phases = [{"name": "warm", "train": ["head"], "until": {"steps": 2}}, *PLATEAU]
    again = as_it_was_trained(trial_of(phases), reports("head", "head"), 1.0)
    assert ends(again) == [{"steps": 2}, {"epochs": 2}]


def test_a_schedule_without_phases_of_its_own_stays_as_it_is() -> None:
    spec = FineTuneJobSpec.model_validate(job({"freezing": {"preset": "gradual"}, "training.epochs": 5})["spec"])
    assert as_it_was_trained(spec, reports("head"), 1.25).freezing == spec.freezing


def test_a_joined_store_trains_on_the_rows_of_both(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    spec = tiny.spec({"training.epochs": 1})
    store = PreparedStore(tiny.store(spec))
    joined = joined_store(store, tmp_path / "stores")
    ids = {name: store.table(name)["id"].to_pylist() for name in ("train", "validation", "test")}
    assert joined.table("train")["id"].to_pylist() == ids["train"] + ids["validation"]
    assert joined.table("test").equals(store.table("test"))
    assert joined.facts["labels"] == store.facts["labels"]
    assert joined.facts["counts"]["train"] == len(ids["train"]) + len(ids["validation"])
    assert joined.folder.name != store.folder.name
    assert sum(joined.facts["classes"]["train"].values()) == joined.facts["counts"]["train"]
    task = type(tiny.task(spec))(spec, joined.folder)
    told = run(task, spec, tmp_path / "trial")
    assert told.state == "succeeded"
    assert len(task.rows["train"].id) == joined.facts["counts"]["train"]


def test_images_of_both_are_joined(tmp_path: Path) -> None:
    tiny = TinyImages(tmp_path)
    store = tiny.task(tiny.spec()).store
    joined = joined_store(store, tmp_path / "stores")
    pixels = [np.load(store.folder / f"{name}.npy") for name in ("train", "validation")]
    assert np.array_equal(np.load(joined.folder / "train.npy"), np.concatenate(pixels))
    assert np.array_equal(np.load(joined.folder / "test.npy"), np.load(store.folder / "test.npy"))


def test_the_last_epoch_of_a_trial_that_keeps_it_is_its_best(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    spec = tiny.spec({"training.optimizer": {"lr": 0.9}, "training.epochs": 3})
    told: list[Report] = []

    def report(item: Report) -> bool:
        told.append(item)
        return True

    steps = Steps(report, lambda: 0.0, keeps_last=True)
    run_trial(tiny.task(spec), spec, tmp_path / "trial", Gang(), steps, spec.task_entry.metrics)
    assert [report["best_epoch"] for report in told] == [1, 2, 3]
