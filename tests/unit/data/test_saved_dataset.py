"""What `save_to_disk` of Hugging Face datasets wrote is read as any table: datasets itself wrote `saved_datasets/`, as
its make.py says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.data.reading import examples_of
from tests.unit.tiny_jobs import TinyJob
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.data.tables import read_table
from thaw_trainer.data.tagged_words import TAGGED_WORDS
from thaw_trainer.errors import DATA_NOT_FOUND, DATA_UNREADABLE, TrainerError

SAVED = Path(__file__).parent / "saved_datasets"
TRAIN = [
    {"text": "so it goes", "label": "sad"},
    {"text": "what a day", "label": "glad"},
    {"text": "oh no", "label": "sad"},
]


def refusal(path: Path, table_format: str | None = None, field: str = "spec.data.train") -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        read_table(path, table_format, field)
    assert caught.value.field == f"{field}.uri"
    return caught.value


@pytest.mark.parametrize("table_format", ["dataset", None])
def test_the_split_that_is_called_like_the_field_is_read_classes_by_their_names(table_format: str | None) -> None:
    assert read_table(SAVED / "texts", table_format, "spec.data.train").to_pylist() == TRAIN
    held = read_table(SAVED / "texts", table_format, "spec.data.validation").to_pylist()
    assert held == [{"text": "hooray", "label": "glad"}, {"text": "alas", "label": "sad"}]


def test_a_splits_own_folder_is_read_for_any_field() -> None:
    assert read_table(SAVED / "texts" / "train", None, "spec.data.test").to_pylist() == TRAIN


def test_a_class_that_is_not_known_is_missing() -> None:
    assert read_table(SAVED / "texts" / "unlabelled", None, "spec.data.test")["label"].to_pylist() == [None]


def test_lists_of_classes_in_several_files_are_read_by_their_names() -> None:
    rows = read_table(SAVED / "tagged", None, "spec.data.train").to_pylist()
    assert rows == [
        {"tokens": ["Ann", "Lee", "sings"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["rain"], "tags": ["O"]},
    ]


def test_tagged_words_may_be_a_saved_dataset() -> None:
    spec = TinyJob.there(SAVED).spec({"data.train": {"uri": "file:tagged"}})
    examples = examples_of(TAGGED_WORDS, spec.data, SAVED / "tagged")
    assert examples.columns["tags"] == [("B-PER", "I-PER", "O"), ("O",)]


def test_lists_as_they_were_written_at_first_have_names_too(tmp_path: Path) -> None:
    folder = shutil.copytree(SAVED / "tagged", tmp_path / "tagged")
    info: dict[str, Any] = json.loads((folder / "dataset_info.json").read_text())
    for written in (
        {"feature": info["features"]["tags"]["feature"], "length": -1, "_type": "Sequence"},
        [info["features"]["tags"]["feature"]],
    ):
        (folder / "dataset_info.json").write_text(json.dumps(info | {"features": {"tags": written}}))
        assert read_table(folder, None, "spec.data.train")["tags"].to_pylist() == [["B-PER", "I-PER", "O"], ["O"]]


def test_a_split_that_is_not_there_is_refused_with_those_that_are() -> None:
    error = refusal(SAVED / "texts", field="spec.data.test")
    assert error.reason == DATA_NOT_FOUND
    assert "no split 'test'; it has train, unlabelled, validation" in error.message


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "dataset")
    assert error.reason == DATA_UNREADABLE
    assert "nothing that save_to_disk wrote" in error.message


@pytest.mark.parametrize("damage", ["cut", "gone", "not-json"])
def test_a_damaged_folder_is_refused(damage: str, tmp_path: Path) -> None:
    folder = shutil.copytree(SAVED / "tagged", tmp_path / "tagged")
    file = sorted(folder.glob("*.arrow"))[1]
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "gone":
        file.unlink()
    else:
        (folder / "state.json").write_text("{")
    assert refusal(folder).reason == DATA_UNREADABLE


def test_a_job_reads_a_saved_dataset_and_its_store_follows_what_it_holds(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    folder = shutil.copytree(SAVED / "texts", tmp_path / "saved")
    rows = [{"text": "oh my", "label": "glad"}, {"text": "woe", "label": "sad"}]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = {
        "data.train": {"uri": "file:saved"},
        "data.validation": {"uri": "file:saved", "format": "dataset"},
        "data.test": {"uri": "file:test.jsonl"},
    }
    before = PreparedStore(tiny.store(tiny.spec(changes)))
    assert before.facts["labels"] == ["glad", "sad"]
    assert before.facts["classes"]["train"] == {"glad": 1, "sad": 2}
    info = folder / "train" / "dataset_info.json"
    info.write_text(info.read_text().replace('"glad"', '"merry"'))
    with pytest.raises(TrainerError, match="validation has labels that no training row has"):
        tiny.store(tiny.spec(changes))
