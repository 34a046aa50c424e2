"""Pairs of texts in a store: read, tokenized as the tokenizer joins them, told apart by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.tiny_jobs import TinyJob, write_csv
from tests.unit.tiny_models import VOCABULARY
from tests.unit.tiny_texts import TinyPairs, pair_rows
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import COLUMN_NOT_FOUND, TrainerError
from thaw_trainer.tasks.protocol import Share

SPLITS = ("train", "validation", "test")


def prepared(tiny: TinyJob, changes: dict[str, Any] | None = None) -> PreparedStore:
    return PreparedStore(tiny.store(tiny.spec(changes)))


def words(row: dict[str, Any]) -> list[str]:
    return [VOCABULARY[token] for token in row["input_ids"]]


def test_a_pair_is_one_row_of_two_segments(tmp_path: Path) -> None:
    store, source = prepared(TinyPairs(tmp_path)), pair_rows()
    for split in SPLITS:
        for row in store.table(split).to_pylist():
            first, second = (source[row["id"]][name].split() for name in ("text", "other"))
            assert words(row) == ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
            assert row["segments"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)


def test_of_a_pair_that_is_too_long_the_longer_text_is_cut(tmp_path: Path) -> None:
    store, source = prepared(TinyPairs(tmp_path), {"data.batching": {"maxLength": 14}}), pair_rows()
    for row in store.table("train").to_pylist():
        first, second = (source[row["id"]][name].split() for name in ("text", "other"))
        kept = [row["segments"].count(0) - 2, row["segments"].count(1) - 1]
        assert sum(kept) == min(11, len(first) + len(second))
        for own, all_words, other in zip(kept, (first, second), kept[::-1], strict=True):
            assert own == len(all_words) or own >= other - 1, "only what is not shorter is cut"


def test_a_second_column_that_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    store = prepared(TinyPairs(tmp_path), {"data.columns": {}})
    assert all(not row["segments"] for row in store.table("train").to_pylist())


def test_a_pair_is_the_same_row_only_if_both_texts_are(tmp_path: Path) -> None:
    tiny = TinyPairs(tmp_path)
    header = ("text", "other", "label")
    write_csv(tmp_path / "train.csv", [("red", "warm", "a"), ("blue", "cold", "b"), ("red", "far", "b")], header)
    write_csv(tmp_path / "validation.csv", [("red", "warm", "a"), ("red", "cold", "b")], header)
    write_csv(tmp_path / "test.csv", [("red", "cold", "a"), ("warm", "red", "b")], header)
    apart = {f"data.{name}": {"uri": f"file:{name}.csv"} for name in SPLITS}
    counts = prepared(tiny, apart).facts["counts"]
    assert (counts["validation"], counts["test"]) == (1, 1)
    assert (counts["duplicatesOutOfValidation"], counts["duplicatesOutOfTest"]) == (1, 1)


def test_a_second_column_that_is_not_there_is_named_by_its_field(tmp_path: Path) -> None:
    with pytest.raises(TrainerError) as caught:
        prepared(TinyPairs(tmp_path), {"data.columns": {"textPair": "answer"}})
    assert (caught.value.reason, caught.value.field) == (COLUMN_NOT_FOUND, "spec.data.columns.textPair")


@pytest.mark.parametrize(
    ("family", "changes", "reads"),
    [
        ("bert", {}, True),
        ("xlnet", {}, True),
        ("roberta", {"type_vocab_size": 1}, False),
        ("distilbert", {}, False),
        ("deberta-v2", {}, False),
        ("gpt2", {}, False),
    ],
)
def test_a_model_is_told_the_segments_that_it_can_read(
    family: str, changes: dict[str, Any], reads: bool, tmp_path: Path
) -> None:
    tiny = TinyPairs(tmp_path, family=family, **changes)
    task = tiny.task(tiny.spec())
    assert task.reads_segments == reads
    batch = next(iter(task.batches("validation", 0, Share())))
    assert batch.segments is not None
    with torch.no_grad():
        logits = task.outputs(task.build().eval(), batch, torch.device("cpu"))["logits"]
    assert logits.shape == (len(batch.id), 2)
