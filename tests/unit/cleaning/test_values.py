"""Steps about values: what is missing, conditions, other names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from tests.unit.cleaning.tables import cleaned
from thaw_api.data import DataSpec
from thaw_trainer.cleaning.run import clean_sources
from thaw_trainer.data.rows import Rows
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError

ROWS: dict[str, list[Any]] = {
    "text": ["one", None, " \t", "four", "five"],
    "label": ["a", "b", "a", None, "b"],
    "stars": ["1", "2", "3", "4", "5"],
    "year": [2001, 2002, None, 2004, 2005],
}


def ids(step: str, options: dict[str, Any], **table: list[Any]) -> list[int]:
    return list(cleaned(step, options, table or ROWS)[0]["train"].ids)


def refused(step: str, options: dict[str, Any]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        cleaned(step, options, ROWS)
    return caught.value


def test_a_row_without_a_value_in_what_the_task_reads_is_dropped() -> None:
    assert ids("dropMissing", {}) == [0, 4]


def test_columns_may_be_named_by_their_role_or_by_themselves() -> None:
    assert ids("dropMissing", {"columns": ["text"]}) == [0, 3, 4]
    rows, _ = cleaned(
        "dropMissing", {"columns": ["label"]}, {"text": ["a", "b"], "kind": ["x", None]}, {"label": "kind"}
    )
    assert rows["train"].ids.tolist() == [0]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("year > 2001", [1, 3, 4]),
        ("CAST(stars AS DOUBLE) >= 3 AND label = 'b'", [4]),
        ("length(text) = 4", [3, 4]),
        ("label IS NULL", [3]),
        ("label = 'avg(' OR stars = '3'", [2]),
        ("text LIKE 'f%' OR stars IN ('1', '2')", [0, 1, 3, 4]),
    ],
)
def test_a_condition_keeps_the_rows_that_it_holds_for(where: str, kept: list[int]) -> None:
    assert ids("filter", {"where": where}) == kept


@pytest.mark.parametrize(
    ("where", "reason", "says"),
    [
        ("year >", DATA_INVALID, "'year >' is no condition"),
        ("price > 3", COLUMN_NOT_FOUND, "the data has no column 'price'; it has text, label, stars, year"),
        ("year > AVG(year)", DATA_INVALID, "looks at many rows at a time (AVG)"),
        ("ROW_NUMBER() OVER (ORDER BY year) > 1", DATA_INVALID, "looks at many rows at a time (ROW_NUMBER)"),
        ("year + 1", DATA_INVALID, "not whether a row is meant"),
        ("CAST(text AS DOUBLE) > 1", DATA_INVALID, "conversion from `str` to `f64` failed in column 'text'"),
        ("1 = 1", DATA_INVALID, "not whether a row is meant"),
        ("read_csv('/etc/passwd')", DATA_INVALID, "is no condition"),
        ("year IN (SELECT year FROM train)", DATA_INVALID, "looks at many rows at a time (SELECT)"),
    ],
)
def test_a_condition_that_is_none_is_refused_by_its_field(where: str, reason: str, says: str) -> None:
    error = refused("filter", {"where": where})
    assert (error.reason, error.field) == (reason, "spec.data.clean[0].filter.where")
    assert says in error.message


def test_a_step_that_leaves_nothing_is_refused() -> None:
    error = refused("filter", {"where": "year > 3000"})
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.clean[0].filter")
    assert error.message == "leaves none of the 5 rows of data.train"


def test_labels_are_renamed_and_merged_and_all_others_stay() -> None:
    rows, told = cleaned(
        "mapValues", {"column": "label", "values": {"a": "x", "b": "x"}}, ROWS | {"label": list("abcab")}
    )
    assert rows["train"].table["label"].to_pylist() == ["x", "x", "c", "x", "x"]
    assert told == {"step": "mapValues", "dropped": 0, "changed": 4, "rows": 5}


def test_numbers_are_mapped_as_they_are_written() -> None:
    rows, told = cleaned("mapValues", {"column": "year", "values": {"2001": "old"}}, ROWS)
    assert rows["train"].table["year"].to_pylist() == ["old", "2002", None, "2004", "2005"]
    assert told["changed"] == 1


def test_a_column_that_is_not_there_is_refused_by_its_field() -> None:
    error = refused("mapValues", {"column": "colour", "values": {"a": "b"}})
    assert (error.reason, error.field) == (COLUMN_NOT_FOUND, "spec.data.clean[0].mapValues.column")
    error = refused("normalize", {"columns": ["year"]})
    assert (error.reason, error.field) == (DATA_INVALID, "spec.data.clean[0].normalize.columns")


def test_steps_go_over_every_source_and_count_together() -> None:
    rows, told = cleaned("dropMissing", {}, ROWS, test={name: values[:3] for name, values in ROWS.items()})
    assert (rows["train"].ids.tolist(), rows["test"].ids.tolist()) == ([0, 4], [0])
    assert told == {"step": "dropMissing", "dropped": 5, "changed": 0, "rows": 3}


def test_a_number_without_a_fraction_is_written_as_labels_are() -> None:
    rows, told = cleaned("mapValues", {"column": "label", "values": {"1": "good"}}, {"label": [1.0, None, 0.0]})
    assert rows["train"].table["label"].to_pylist() == ["good", None, "0"]
    assert told["changed"] == 1


def test_a_column_that_is_there_twice_is_refused_and_one_named_twice_is_one() -> None:
    table = pa.table([["a"], ["b"], ["c"]], names=["text", "label", "label"])
    spec = DataSpec.model_validate({"train": {"uri": "file:x"}, "clean": [{"dropMissing": {}}]})
    with pytest.raises(TrainerError, match="several columns 'label'"):
        clean_sources(spec, {"train": Rows(table)}, ("text", "label"), ("text",))
    assert ids("dropMissing", {"columns": ["text", "text"]}) == [0, 3, 4]


def test_a_required_column_is_never_passed_over() -> None:
    with pytest.raises(TrainerError, match="no column 'text'") as refused_:
        cleaned("dropMissing", {}, {"label": ["a", "b"]})
    assert refused_.value.reason == COLUMN_NOT_FOUND
