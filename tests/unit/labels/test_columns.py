"""What a table's label column says, for each kind of labels, and what is learned of it from the training rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from tests.manifests import job
from thaw_api.data import DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.rows import LeftOut, Rows
from thaw_trainer.data.tables import read_table
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.labels.kind import Labels
from thaw_trainer.labels.registry import find_labels


def data_spec(**labels: Any) -> DataSpec:
    return FineTuneJobSpec.model_validate(job({"data.labels": labels})["spec"]).data


def read(column: Any, **labels: Any) -> list[Any]:
    data = data_spec(**labels)
    return labels_of(pa.table({"label": column}), data)


def labels_of(table: pa.Table, data: DataSpec) -> list[Any]:
    """The labels of a table whose every row can be used."""
    rows = Rows(table)
    found = find_labels(data.labels).read(rows, data)
    LeftOut(data).add("train", len(rows), list(rows.bad.values()))
    return found


def refusal(column: Any, **labels: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        read(column, **labels)
    assert caught.value.reason == DATA_INVALID
    return caught.value


def splits(train: Sequence[Any], validation: Sequence[Any], test: Sequence[Any]) -> dict[str, Examples]:
    parts = {"train": train, "validation": validation, "test": test}
    return {name: Examples({"label": rows}, np.arange(len(rows))) for name, rows in parts.items()}


def fit(labels: Labels, *parts: Sequence[Any]) -> dict[str, Any]:
    return labels.fit(splits(*parts), data_spec())


SEVERAL = {"kind": "multi-label"}
FOUND = [("a", "b"), (), ("b",)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["b", "a", "a"], [], ["b"]]),
        pa.array([["b", "a"], [], ["b"]], pa.large_list(pa.large_string())),
        pa.chunked_array([pa.array([["b", "a"]]), pa.array([[], ["b"]], pa.list_(pa.string()))]),
    ],
    ids=["lists", "large-lists", "chunks"],
)
def test_several_labels_are_read_from_lists_each_once_and_in_order(column: Any) -> None:
    assert read(column, **SEVERAL) == FOUND


def test_several_labels_are_read_from_text_by_their_separator() -> None:
    assert read(pa.array(["b; a", None, ";b;"]), separator=";", **SEVERAL) == FOUND
    assert read(pa.array(["b, a", "", "b"]), separator=", ", **SEVERAL) == FOUND


def test_labels_in_lists_may_be_numbers() -> None:
    assert read(pa.array([[2, 10], []]), **SEVERAL) == [("10", "2"), ()]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_every_format_says_the_same(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"rows.{ending}"
    if ending == "csv":
        file.write_text("text,label\nx,b|a\ny,\nz,b\n")
    elif ending == "jsonl":
        file.write_text("".join(json.dumps({"text": "x", "label": list(row)}) + "\n" for row in FOUND))
    else:
        pq.write_table(pa.table({"label": [list(row) for row in FOUND]}), file)
    data = data_spec(**SEVERAL, **({"separator": "|"} if ending == "csv" else {}))
    table = read_table(file, None, "spec.data.train")
    assert labels_of(table, data) == FOUND


@pytest.mark.parametrize(
    ("column", "separator", "field", "words"),
    [
        (["a;b"], None, "labels.separator", "say what separates"),
        ([["a"]], ";", "labels.separator", "separates nothing"),
        ([3], None, "columns.label", "not lists"),
        ([["a", None]], None, "columns.label", "row 0"),
        ([["a"], None], None, "columns.label", "first is row 1"),
    ],
)
def test_what_holds_no_several_labels_is_refused(column: Any, separator: str | None, field: str, words: str) -> None:
    error = refusal(column, **SEVERAL, **({"separator": separator} if separator else {}))
    assert error.field == f"spec.data.{field}"
    assert words in error.message


def test_the_labels_are_those_of_the_training_rows() -> None:
    labels = find_labels(data_spec(**SEVERAL).labels)
    facts = fit(labels, [("a", "b"), ("b",), ()], [("a",)], [(), ("b",)])
    assert facts["labels"] == ["a", "b"]
    assert facts["classes"] == {
        "train": {"a": 1, "b": 2},
        "validation": {"a": 1, "b": 0},
        "test": {"a": 0, "b": 1},
    }
    stored = pa.chunked_array([labels.stored([("a", "b"), (), ("b",)], ["a", "b"])])
    targets = labels.targets(stored, 2)(np.asarray([2, 0, 1]))
    assert targets.tolist() == [[0, 1], [1, 1], [0, 0]]


def test_a_label_of_held_out_rows_alone_is_refused() -> None:
    with pytest.raises(TrainerError, match=r"test has labels that no training row has: \['c'\]"):
        fit(find_labels(data_spec(**SEVERAL).labels), [("a",), ()], [("a",)], [("c",)])
    with pytest.raises(TrainerError, match="no training row has a label"):
        fit(find_labels(data_spec(**SEVERAL).labels), [(), ()], [()], [()])


def test_the_baseline_of_several_labels_is_the_best_single_answer() -> None:
    random = np.random.default_rng(0)
    names = ["a", "b", "c"]
    shares = [0.7, 0.45, 0.1]
    parts = [[tuple(np.asarray(names)[random.random(3) < shares]) for _ in range(rows)] for rows in (60, 5, 40)]
    baseline = fit(find_labels(data_spec(**SEVERAL).labels), *parts)["baseline"]

    def reached(rows: list[Any], chosen: list[str]) -> float:
        true = np.asarray([[name in row for name in names] for row in rows])
        guessed = np.tile([name in chosen for name in names], (len(rows), 1))
        return float(f1_score(true, guessed, average="micro", zero_division=0))

    answers = [[name for place, name in enumerate(names) if bits >> place & 1] for bits in range(1, 8)]
    best = max(answers, key=lambda chosen: reached(parts[0], chosen))
    assert baseline["metric"] == "microF1"
    assert baseline["test"] == pytest.approx(reached(parts[2], best))
    assert f"({', '.join(best)})" in baseline["description"]


NUMBER = {"kind": "regression"}


@pytest.mark.parametrize("column", [["1.5", "-2", "3e2"], [1.5, -2.0, 300.0], np.asarray([1.5, -2, 300], np.float32)])
def test_numbers_are_read_from_numbers_and_from_text(column: Any) -> None:
    assert read(pa.array(column), **NUMBER) == [1.5, -2.0, 300.0]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["1", "many"], "many"),
        ([1.0, float("nan")], "row 1"),
        ([1.0, None], "first is row 1"),
        ([[1.0]], "no finite number"),
    ],
)
def test_what_is_no_number_is_refused(column: Any, words: str) -> None:
    error = refusal(column, **NUMBER)
    assert error.field == "spec.data.columns.label"
    assert words in error.message


def test_mean_and_deviation_are_those_of_the_training_rows_and_the_baseline_is_their_error() -> None:
    facts = fit(find_labels(data_spec(**NUMBER).labels), [1.0, 2.0, 6.0], [100.0], [3.0, 7.0])
    assert facts["target"] == {"mean": 3.0, "deviation": pytest.approx(np.std([1, 2, 6]))}
    assert facts["baseline"]["test"] == pytest.approx(np.sqrt(8.0))
    assert "(3)" in facts["baseline"]["description"]


def test_one_number_for_all_training_rows_is_nothing_to_learn() -> None:
    with pytest.raises(TrainerError, match="every training row has the label 2"):
        fit(find_labels(data_spec(**NUMBER).labels), [2.0, 2.0], [1.0], [3.0])
