from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.tiny_jobs import LABELS, TinyJob, labelled_texts, write_csv
from tests.unit.tiny_models import VOCABULARY, WORDS, family_config, save_tokenizer
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, DATA_NOT_FOUND, MODEL_UNREADABLE, TrainerError

SPLITS = ("train", "validation", "test")
APART = {"data.validation": {"uri": "file:validation.csv"}, "data.test": {"uri": "file:test.csv"}}
"""Each part a file of its own."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job that no test changes."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture
def tiny(tmp_path: Path) -> TinyJob:
    """A job of a test's own."""
    return TinyJob(tmp_path)


def prepared(tiny: TinyJob, changes: dict[str, Any] | None = None) -> PreparedStore:
    return PreparedStore(tiny.store(tiny.spec(changes)))


def refusal(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    return caught.value


def write_parts(tiny: TinyJob, **parts: list[tuple[str, str]]) -> None:
    for name, rows in parts.items():
        write_csv(tiny.root / f"{name}.csv", rows)


TRAIN = [("warm red", "red"), ("cold blue", "blue"), ("old red", "red"), ("far blue", "blue")]


def test_rows_are_split_labelled_and_tokenized(shared: TinyJob) -> None:
    store = prepared(shared)
    source = labelled_texts()
    seen = []
    for split in SPLITS:
        for row in store.table(split).to_pylist():
            text, label = source[row["id"]]
            assert store.facts["labels"][row["label"]] == label
            assert [VOCABULARY[token] for token in row["input_ids"]] == ["[CLS]", *text.split(), "[SEP]"]
            seen.append(row["id"])
    assert sorted(seen) == list(range(60))


def test_the_facts_say_what_was_read_and_where_it_went(shared: TinyJob) -> None:
    facts = prepared(shared).facts
    assert facts["labels"] == sorted(LABELS)
    assert facts["counts"] == {
        "read": 60,
        "train": 42,
        "validation": 12,
        "test": 6,
        "duplicatesOutOfValidation": 0,
        "duplicatesOutOfTest": 0,
    }
    assert facts["classes"]["test"] == dict.fromkeys(sorted(LABELS), 2)
    assert facts["padToken"] == 0
    assert not facts["padLeft"]


def test_the_longest_row_is_what_batches_go_up_to(shared: TinyJob) -> None:
    longest = max(len(text.split()) + 2 for text, _ in labelled_texts())
    assert prepared(shared).facts["widths"][-1] == longest
    assert prepared(shared, {"data.batching": {"strategy": "pad", "maxLength": 30}}).facts["widths"] == [30]


def test_texts_are_cut_to_the_longest_that_is_allowed(shared: TinyJob) -> None:
    store = prepared(shared, {"data.batching": {"maxLength": 8}})
    lengths = [len(row) for split in SPLITS for row in store.table(split)["input_ids"].to_pylist()]
    assert max(lengths) == store.facts["widths"][-1] == 8


def test_texts_are_cut_to_the_positions_of_the_model(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path, family="roberta", max_position_embeddings=12, pad_token_id=1)
    assert prepared(tiny).facts["widths"][-1] == 10, "RoBERTa's positions begin behind the padding index, 1"


def test_a_label_may_be_of_any_scalar(tiny: TinyJob) -> None:
    write_csv(tiny.root / "train.csv", [(text, str(LABELS.index(label))) for text, label in labelled_texts()])
    assert prepared(tiny).facts["labels"] == ["0", "1", "2"]


def test_columns_are_those_that_the_manifest_names(tiny: TinyJob) -> None:
    rows = [("unused", text, label) for text, label in labelled_texts()]
    write_csv(tiny.root / "train.csv", rows, ("text", "summary", "section"))
    changes = {"data.columns": {"text": "summary", "label": "section"}, "data.split.stratifyBy": "section"}
    assert prepared(tiny, changes).facts["labels"] == sorted(LABELS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data.columns": {"text": "summary"}}, "spec.data.columns.text"),
        ({"data.columns": {"label": "section"}}, "spec.data.columns.label"),
        ({"data.split.stratifyBy": "section"}, "spec.data.split.stratifyBy"),
        ({"data.split.groupBy": "author"}, "spec.data.split.groupBy"),
    ],
)
def test_a_column_that_is_not_there_is_named_by_its_field(shared: TinyJob, changes: dict[str, Any], field: str) -> None:
    error = refusal(lambda: prepared(shared, changes))
    assert (error.reason, error.field) == (COLUMN_NOT_FOUND, field)


def test_a_missing_cell_is_refused(tiny: TinyJob) -> None:
    rows: list[tuple[str, ...]] = [*labelled_texts(), ("far red", "")]
    (tiny.root / "train.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    error = refusal(lambda: prepared(tiny))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.columns.label")
    assert "the first is row 60" in error.message


def test_groups_stay_together(tiny: TinyJob) -> None:
    rows = [(text, label, f"author{index // 3}") for index, (text, label) in enumerate(labelled_texts(90))]
    write_csv(tiny.root / "train.csv", rows, ("text", "label", "author"))
    store = prepared(tiny, {"data.split": {"validation": 0.2, "test": 0.2, "groupBy": "author"}})
    authors = [{rows[row["id"]][2] for row in store.table(split).to_pylist()} for split in SPLITS]
    assert sum(map(len, authors)) == len(set().union(*authors)) == 30


def test_the_newest_rows_are_held_out(tiny: TinyJob) -> None:
    random = np.random.default_rng(0).permutation(60)
    days = [f"2026-{1 + day // 28:02}-{1 + day % 28:02}" for day in random]
    rows = [(*row, day) for row, day in zip(labelled_texts(60), days, strict=True)]
    write_csv(tiny.root / "train.csv", rows, ("text", "label", "day"))
    store = prepared(tiny, {"data.split": {"validation": 0.2, "test": 0.1, "timeBy": "day"}})
    ids = [store.table(split)["id"].to_pylist() for split in SPLITS]
    assert [len(each) for each in ids] == [42, 12, 6]
    assert max(random[ids[0]]) < min(random[ids[1]])
    assert max(random[ids[1]]) < min(random[ids[2]])


def test_what_is_no_time_is_named_by_its_row(tiny: TinyJob) -> None:
    rows = [
        (*row, "yesterday" if number == 7 else f"2026-01-{1 + number % 28:02}")
        for number, row in enumerate(labelled_texts(60))
    ]
    write_csv(tiny.root / "train.csv", rows, ("text", "label", "day"))
    error = refusal(lambda: prepared(tiny, {"data.split": {"timeBy": "day"}}))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.split.timeBy")
    assert "row 7: 'yesterday' is no time" in error.message


def test_a_group_that_is_in_two_sources_is_refused(tiny: TinyJob) -> None:
    rows = labelled_texts()
    parts = {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}
    for name, part in parts.items():
        authors = [(*row, f"author {number}" if name == "train" else name) for number, row in enumerate(part)]
        if name == "test":
            authors[3] = (*authors[3][:2], "author 7")
        write_csv(tiny.root / f"{name}.csv", authors, ("text", "label", "author"))
    sources = {f"data.{name}": {"uri": f"file:{name}.csv"} for name in parts}
    changes = {"data.split": {"groupBy": "author"}} | sources
    with pytest.raises(TrainerError, match=r"groupBy: group 'author 7' of column 'author' is in train and in test"):
        tiny.store(tiny.spec(changes))


def test_texts_that_are_trained_on_leave_the_held_out_side(tiny: TinyJob) -> None:
    write_parts(
        tiny,
        train=[*TRAIN, TRAIN[0]],
        validation=[("warm red", "blue"), ("soft red", "red"), ("soft red", "red")],
        test=[("soft red", "red"), ("cold blue", "blue"), ("hard blue", "blue")],
    )
    store = prepared(tiny, APART)
    counts = store.facts["counts"]
    assert (counts["train"], counts["validation"], counts["test"]) == (5, 2, 1)
    assert (counts["duplicatesOutOfValidation"], counts["duplicatesOutOfTest"]) == (1, 2)
    assert store.table("validation")["id"].to_pylist() == [1, 2]
    assert store.table("test")["id"].to_pylist() == [2]


def test_a_part_that_holds_nothing_but_training_rows_is_refused(tiny: TinyJob) -> None:
    write_parts(tiny, train=TRAIN, validation=TRAIN[:2], test=[("hard blue", "blue")])
    error = refusal(lambda: prepared(tiny, APART))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.validation")


def test_a_label_that_only_held_out_rows_have_is_refused(tiny: TinyJob) -> None:
    write_parts(tiny, train=TRAIN, validation=[("soft red", "red")], test=[("hard green", "green")])
    error = refusal(lambda: prepared(tiny, APART))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.columns.label")
    assert "test has labels that no training row has: ['green']" in error.message


def test_labels_are_those_of_the_training_rows_alone(tiny: TinyJob) -> None:
    write_parts(tiny, train=TRAIN, validation=[("soft red", "red")], test=[("hard red", "red")])
    store = prepared(tiny, APART)
    assert store.facts["labels"] == ["blue", "red"]
    assert store.facts["classes"]["test"] == {"blue": 0, "red": 1}


def test_one_label_is_not_enough(tiny: TinyJob) -> None:
    write_csv(tiny.root / "train.csv", [(text, "same") for text, _ in labelled_texts()])
    error = refusal(lambda: prepared(tiny))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.columns.label")
    assert "needs 2 labels" in error.message


@pytest.mark.parametrize("name", ["validation", "test"])
def test_held_out_rows_must_come_from_somewhere(shared: TinyJob, name: str) -> None:
    error = refusal(lambda: prepared(shared, {f"data.split.{name}": 0.0}))
    assert (error.reason, error.field) == (DATA_INVALID, f"spec.data.split.{name}")


def test_a_part_of_its_own_is_not_held_out_of_train(tiny: TinyJob) -> None:
    write_parts(tiny, test=[("hard green", "green")])
    counts = prepared(tiny, {"data.test": APART["data.test"]}).facts["counts"]
    assert (counts["read"], counts["train"], counts["validation"], counts["test"]) == (61, 48, 12, 1)


def test_a_folder_is_no_table(tiny: TinyJob) -> None:
    (tiny.root / "folder").mkdir()
    error = refusal(lambda: prepared(tiny, {"data.train.uri": "file:folder"}))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.train.uri")


def test_a_file_that_is_not_there_is_named(shared: TinyJob) -> None:
    error = refusal(lambda: prepared(shared, {"data.train.uri": "file:none.csv"}))
    assert (error.reason, error.field) == (DATA_NOT_FOUND, "spec.data.train.uri")


def test_a_text_without_a_token_is_refused(tiny: TinyJob) -> None:
    save_tokenizer(tiny.root / "model", special=False)
    write_csv(tiny.root / "train.csv", [*labelled_texts(), (" ", "red")])
    error = refusal(lambda: prepared(tiny))
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.columns.text")
    assert "the first is row 60" in error.message


def test_a_model_without_a_tokenizer_is_refused(tiny: TinyJob) -> None:
    for file in (tiny.root / "model").glob("token*"):
        file.unlink()
    error = refusal(lambda: prepared(tiny))
    assert (error.reason, error.field) == (MODEL_UNREADABLE, "spec.model.uri")


def test_the_fingerprint_follows_the_rows_and_not_the_tokenizer(tiny: TinyJob) -> None:
    before = prepared(tiny).facts["fingerprint"]
    assert prepared(tiny, {"data.batching": {"maxLength": 8}}).facts["fingerprint"] == before
    write_csv(tiny.root / "train.csv", labelled_texts(seed=1))
    assert prepared(tiny).facts["fingerprint"] != before


def test_every_format_gives_the_same_rows(tiny: TinyJob) -> None:
    rows = labelled_texts()
    objects = [{"text": text, "label": label} for text, label in rows]
    (tiny.root / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in objects))
    pa.parquet.write_table(pa.Table.from_pylist(objects), tiny.root / "train.parquet")
    (tiny.root / "train.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    expected = prepared(tiny)
    for name in ("train.jsonl", "train.parquet", "train.tsv"):
        store = prepared(tiny, {"data.train.uri": f"file:{name}"})
        assert store.facts["fingerprint"] == expected.facts["fingerprint"]
        assert store.table("train").equals(expected.table("train"))


def test_the_tiny_vocabulary_is_what_the_model_knows() -> None:
    assert family_config("bert", vocab_size=len(VOCABULARY)).vocab_size > max(map(VOCABULARY.index, WORDS))


def test_a_strata_column_need_not_be_the_label(tiny: TinyJob) -> None:
    rows = [(text, label, "long" if len(text) > 60 else "short") for text, label in labelled_texts(90)]
    write_csv(tiny.root / "train.csv", rows, ("text", "label", "kind"))
    store = prepared(tiny, {"data.split": {"validation": 0.2, "test": 0.2, "stratifyBy": "kind"}})
    kinds = Counter(row[2] for row in rows)
    for split in SPLITS[1:]:
        held = Counter(rows[row["id"]][2] for row in store.table(split).to_pylist())
        assert all(abs(held[kind] - 0.2 * kinds[kind]) < 2 for kind in kinds)
