"""Columns that tell the label by themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw_trainer.data.suspects import leaking_columns, warnings_of

LABELS = [["good", "bad", "fair"][row % 3] for row in range(300)]
RANDOM = np.random.default_rng(0)


def suspects(**columns: object) -> list[str]:
    table = pa.table({"text": [f"text {row}" for row in range(300)], **columns})
    return [each["column"] for each in leaking_columns(table, LABELS)]


def test_what_is_written_with_the_label_is_named() -> None:
    scores = [{"good": 9.0, "fair": 5.0, "bad": 1.0}[label] + RANDOM.normal() / 2 for label in LABELS]
    assert suspects(verdict=[label[:2] for label in LABELS], score=scores) == ["verdict", "score"]
    assert suspects(is_good=pa.array([label == "good" for label in LABELS])) == []


def test_numbers_of_few_values_are_looked_at_one_by_one() -> None:
    many = [f"class {row % 100:02}" for row in range(3000)]
    numbers = pa.array([2**60 + row % 100 for row in range(3000)])
    (found,) = leaking_columns(pa.table({"number": pa.array([row % 100 for row in range(3000)])}), many)
    assert found["tells"] == 1.0
    assert leaking_columns(pa.table({"large": numbers}), many) == []  # no float tells them apart, and none is needed
    rare = ["yes" if row % 33 == 0 else "no" for row in range(3000)]
    copy = pa.table({"copy": pa.array([int(label == "yes") for label in rare]).dictionary_encode()})
    assert [each["column"] for each in leaking_columns(copy, rare)] == ["copy"]


def test_a_few_rows_that_differ_or_lack_a_value_do_not_hide_it() -> None:
    values = [None if row % 20 == 0 else label for row, label in enumerate(LABELS)]
    assert suspects(verdict=pa.array(values)) == ["verdict"]


def test_a_value_of_its_own_for_each_row_tells_nothing() -> None:
    assert suspects(name=[f"{label} {row}" for row, label in enumerate(LABELS)], number=list(range(300))) == []
    assert suspects(words=[[label] for label in LABELS], nothing=pa.nulls(300, pa.float64())) == []


def test_what_the_most_frequent_label_tells_is_no_suspect() -> None:
    labels = ["yes" if row % 50 else "no" for row in range(1000)]
    table = pa.table({"colour": ["red", "blue"] * 500})
    assert leaking_columns(table, labels) == []


def test_numbers_and_several_labels_have_no_suspects() -> None:
    assert leaking_columns(pa.table({"a": [1.0] * 40}), [1.5] * 40) == []
    assert leaking_columns(pa.table({"a": [1.0] * 40}), [("a", "b")] * 40) == []


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_chance_is_no_suspect(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.choice(["a", "b"], 400).tolist()
    table = pa.table({"x": random.normal(size=400), "y": random.choice(["p", "q", "r"], 400)})
    assert leaking_columns(table, labels) == []


def test_a_warning_names_the_column_and_how_much_it_tells() -> None:
    (warning,) = warnings_of([{"column": "verdict", "tells": 0.987, "mostFrequent": 0.4}])
    assert warning.startswith("column 'verdict' alone tells the label of 99% of the rows")
