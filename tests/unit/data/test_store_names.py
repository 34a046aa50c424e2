"""A prepared store is named by all that it depends on, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.tiny_jobs import TinyJob
from thaw_trainer.data.store import PreparedStore


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job that no test changes."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture
def tiny(tmp_path: Path) -> TinyJob:
    """A job of a test's own."""
    return TinyJob(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"data.split.seed": 1},
        {"data.split.test": 0.2},
        {"data.split.groupBy": "text"},
        {"data.columns": {"text": "text"}},
        {"data.batching": {"maxLength": 16}},
        {"data.batching": {"strategy": "pad"}},
        {"data.train.format": "csv"},
    ],
)
def test_a_store_has_another_name_when_the_spec_of_the_data_changes(shared: TinyJob, changes: dict[str, Any]) -> None:
    assert shared.store(shared.spec(changes)) != shared.store(shared.spec())


def test_a_store_has_another_name_when_the_weights_change(tiny: TinyJob) -> None:
    before = tiny.store(tiny.spec())
    weights = tiny.root / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert tiny.store(tiny.spec()) != before


def test_a_folder_that_was_moved_has_the_same_store_and_the_model_is_found_there(tiny: TinyJob) -> None:
    before = tiny.store(tiny.spec())
    moved = tiny.root.rename(tiny.root.with_name(f"{tiny.root.name}-moved"))
    store = PreparedStore(TinyJob.there(moved).store(tiny.spec()))
    assert store.folder == moved / "stores" / before.name
    assert store.facts["modelFolder"] == str(moved / "model")
    assert PreparedStore(store.folder).facts == store.facts


@pytest.mark.parametrize("file", ["train.csv", "model/tokenizer.json", "model/config.json"])
def test_a_store_has_another_name_when_a_file_changes(tiny: TinyJob, file: str) -> None:
    before = tiny.store(tiny.spec())
    path = tiny.root / file
    path.write_text(path.read_text().replace("warm", "bold").replace('"hidden_size": 16', '"hidden_size":  16'))
    assert tiny.store(tiny.spec()) != before


def test_a_store_is_shared_by_trials_that_differ_elsewhere(shared: TinyJob) -> None:
    base = shared.store(shared.spec())
    assert shared.store(shared.spec({"training.optimizer.lr": 0.5, "freezing": {"preset": "gradual"}})) == base


def test_a_store_is_not_made_again(shared: TinyJob, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared.store(shared.spec())
    monkeypatch.setattr("thaw_trainer.data.labelled_texts.read_splits", None)
    assert shared.store(shared.spec()) == folder
