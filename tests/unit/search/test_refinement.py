"""A trial that is to be trained once more, and the rows that it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.manifests import job
from tests.unit.freezing.test_selectors import layout_of
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


def test_a_phase_that_a_plateau_ended_ends_after_as_many_epochs() -> None:
    spec = FineTuneJobSpec.model_validate(
        job({"freezing": {"phases": PLATEAU}, "training.epochs": 9, "training.earlyStopping": {"patience": 1}})["spec"]
    )
    again = as_it_was_trained(spec, reports("head", "head", "head", "top", "top", "all"), layout_of(3))
    assert again.training.early_stopping is None
    assert again.training.epochs == 9, "rates move as they did"
    assert again.freezing.phases is not None
    assert [phase.until.manifest() for phase in again.freezing.phases] == [
        {"epochs": 3},
        {"epochs": 2},
        {"fraction": 1.0},
    ]


def test_a_schedule_that_counts_stays_as_it_is() -> None:
    spec = FineTuneJobSpec.model_validate(job({"freezing": {"preset": "gradual"}, "training.epochs": 5})["spec"])
    assert as_it_was_trained(spec, reports("head"), layout_of(3)).freezing == spec.freezing


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
