"""Columns made of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests import job
from tests.unit.tiny_jobs import TinyJob, labelled_texts, write_csv
from thaw_api.job import FineTuneJobSpec
from thaw_api.steps import COLUMN_FEATURES, step_errors
from thaw_trainer.cleaning.derived import derive_columns
from thaw_trainer.data.rows import Rows
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError


def derived(table: dict[str, list[Any]], *features: dict[str, Any]) -> pa.Table:
    spec = FineTuneJobSpec.model_validate(job({"data.features": list(features)})["spec"])
    return derive_columns(spec.data, {"train": Rows(pa.table(table))})["train"].table


def template(text: str, column: str = "new") -> dict[str, Any]:
    return {"template": {"column": column, "text": text}}


def expression(text: str, column: str = "new") -> dict[str, Any]:
    return {"derive": {"column": column, "expression": text}}


WORDS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6)


@given(WORDS, st.integers(-5, 5))
def test_a_template_is_what_python_formats(words: list[str], number: int) -> None:
    table: dict[str, list[Any]] = {"word": words, "number": [number] * len(words)}
    found = derived(table, template("{{{word}}}: {number}!"))
    assert found["new"].to_pylist() == [f"{{{word}}}: {number}!" for word in words]


def test_a_later_step_reads_what_an_earlier_one_made() -> None:
    table: dict[str, list[Any]] = {"stars": [1, 5, 3], "title": ["a", "b", "c"]}
    found = derived(
        table, expression("CASE WHEN stars > 3 THEN 'good' ELSE 'poor' END", "kind"), template("{kind} {title}")
    )
    assert found["new"].to_pylist() == ["poor a", "good b", "poor c"]


def test_a_column_of_the_name_is_replaced() -> None:
    assert derived({"text": ["a", "b"]}, template("<{text}>", "text"))["text"].to_pylist() == ["<a>", "<b>"]


def test_what_is_missing_is_missing_in_what_is_made_of_it() -> None:
    table: dict[str, list[Any]] = {"a": ["x", None], "b": [1, 2]}
    assert derived(table, template("{a}{b}"))["new"].to_pylist() == ["x1", None]
    assert derived(table, expression("a || 'y'"))["new"].to_pylist() == ["xy", None]


@pytest.mark.parametrize(
    ("feature", "reason", "field", "told"),
    [
        (template("{nothing}"), COLUMN_NOT_FOUND, "template.text", "the data has no column 'nothing'"),
        (expression("nothing + 1"), COLUMN_NOT_FOUND, "derive.expression", "the data has no column 'nothing'"),
        (expression("avg(year)"), DATA_INVALID, "derive.expression", "an expression is about one row"),
        (expression("'constant'"), DATA_INVALID, "derive.expression", "does not give each row a value"),
        (expression("year +"), DATA_INVALID, "derive.expression", "is no expression"),
    ],
)
def test_what_cannot_be_made_names_its_step(feature: dict[str, Any], reason: str, field: str, told: str) -> None:
    with pytest.raises(TrainerError) as caught:
        derived({"year": [1, 2]}, feature)
    assert (caught.value.reason, caught.value.field) == (reason, f"spec.data.features[0].{field}")
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no names", "names no column"),
        ("{}", "names no column"),
        ("{a", "is no template"),
        ("{a!r}", "may have names in braces, and nothing else"),
        ("{a:>3}", "may have names in braces, and nothing else"),
    ],
)
def test_a_text_that_is_no_template_is_refused_with_the_manifest(text: str, told: str) -> None:
    (error,) = step_errors([template(text)], COLUMN_FEATURES, "spec.data.features", "text-classification")
    assert told in str(error)


def test_a_job_reads_a_text_that_is_made_of_columns(tmp_path: Path) -> None:
    tiny, plain = TinyJob(tmp_path / "made"), TinyJob(tmp_path / "plain")
    rows = [(*text.split(" ", 1), label) for text, label in labelled_texts()]
    write_csv(tiny.root / "train.csv", rows, ("first", "rest", "label"))
    made = PreparedStore(tiny.store(tiny.spec({"data.features": [template("{first} {rest}", "text")]})))
    whole = PreparedStore(plain.store(plain.spec()))
    assert made.facts["fingerprint"] == whole.facts["fingerprint"]
    assert all(made.table(split).equals(whole.table(split)) for split in ("train", "validation", "test"))
