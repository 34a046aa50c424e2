from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from thaw_trainer.data.tables import read_table, text_column
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, DATA_UNREADABLE, TrainerError

FIELD = "spec.data.train"
TEXT = "spec.data.columns.text"
Write = Callable[[str, "str | bytes"], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of that name and content."""

    def written(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return written


def rows(file: Path, table_format: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(file, table_format, FIELD).to_pylist()
    return found


def refusal(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    assert caught.value.cause == "user"
    return caught.value


EXPECTED = [{"text": "a, b", "label": "x"}, {"text": "c", "label": "y"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", 'text,label\n"a, b",x\nc,y\n'),
        ("rows.CSV", '\ufefftext,label\r\n"a, b",x\r\nc,y\r\n'),
        ("rows.tsv", "text\tlabel\na, b\tx\nc\ty\n"),
        ("rows.jsonl", '{"text": "a, b", "label": "x"}\n{"text": "c", "label": "y"}\n'),
        ("rows.ndjson", '{"text": "a, b", "label": "x"}\n{"text": "c", "label": "y"}'),
    ],
)
def test_a_format_is_known_by_the_names_ending(write: Write, name: str, content: str) -> None:
    assert rows(write(name, content)) == EXPECTED


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(EXPECTED), tmp_path / "rows.parquet")
    assert rows(tmp_path / "rows.parquet") == EXPECTED


def test_a_format_that_is_given_wins_over_the_ending(write: Write) -> None:
    assert rows(write("rows.txt", "text\tlabel\na, b\tx\nc\ty\n"), "tsv") == EXPECTED


def test_a_cell_may_hold_a_line_end(write: Write) -> None:
    assert rows(write("rows.csv", 'text,label\n"a\nb",x\n')) == [{"text": "a\nb", "label": "x"}]


def test_cells_of_a_csv_are_what_is_written(write: Write) -> None:
    table = read_table(write("rows.csv", "text,label\nNA,1.10\n007,1.1\n2020-01-01,True\nnull,nan\n"), None, FIELD)
    assert text_column(table, "text", TEXT) == ["NA", "007", "2020-01-01", "null"]
    assert text_column(table, "label", TEXT) == ["1.10", "1.1", "True", "nan"]


def test_an_empty_cell_is_missing_and_a_quoted_one_is_an_empty_text(write: Write) -> None:
    assert rows(write("rows.csv", 'text,label\n"",x\n,y\n')) == [
        {"text": "", "label": "x"},
        {"text": None, "label": "y"},
    ]


def test_a_row_may_be_long(write: Write) -> None:
    long = "word " * 600_000
    assert rows(write("rows.csv", f"text,label\n{long},x\n"))[0]["text"] == long
    assert rows(write("rows.jsonl", json.dumps({"text": long}) + "\n"))[0]["text"] == long


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.csv", "", "no readable csv"),
        ("rows.csv", "text,label\na\n", "Expected 2 columns"),
        ("rows.csv", "text,label\ncaf\xe9,x\n".encode("latin-1"), "UTF8"),
        ("rows.jsonl", "", "no readable jsonl"),
        ("rows.jsonl", '{"text": "a"\n', "no readable jsonl"),
        ("rows.jsonl", '{"text": "a"}\n{"text": 1}\n', "no readable jsonl"),
        ("rows.parquet", b"PAR1 and no more", "no readable parquet"),
    ],
)
def test_a_corrupt_file_is_named_with_what_is_wrong(write: Write, name: str, content: str | bytes, says: str) -> None:
    error = refusal(lambda: rows(write(name, content)))
    assert (error.reason, error.field) == (DATA_UNREADABLE, f"{FIELD}.uri")
    assert says in error.message
    assert name in error.message


def test_a_parquet_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(EXPECTED), file)
    file.write_bytes(file.read_bytes()[:-20])
    assert refusal(lambda: rows(file)).reason == DATA_UNREADABLE


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    assert refusal(lambda: rows(tmp_path / "rows.csv")).reason == DATA_UNREADABLE


def test_a_table_without_rows_is_refused(write: Write) -> None:
    error = refusal(lambda: rows(write("rows.csv", "text,label\n")))
    assert (error.reason, error.field) == (DATA_INVALID, f"{FIELD}.uri")


def test_an_unknown_ending_asks_for_the_format(write: Write) -> None:
    error = refusal(lambda: rows(write("rows.xlsx", "x")))
    assert (error.reason, error.field) == (DATA_UNREADABLE, f"{FIELD}.format")


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_a_missing_column_is_named_with_those_that_are_there() -> None:
    error = refusal(lambda: text_column(table(body=["a"], label=["x"]), "text", TEXT))
    assert (error.reason, error.field) == (COLUMN_NOT_FOUND, TEXT)
    assert error.message == "the data has no column 'text'; it has body, label"


def test_a_column_that_is_there_twice_is_refused(write: Write) -> None:
    read = read_table(write("rows.csv", "text,text\na,b\n"), None, FIELD)
    error = refusal(lambda: text_column(read, "text", TEXT))
    assert (error.reason, error.field) == (DATA_INVALID, TEXT)


def test_missing_cells_are_counted_and_the_first_is_named() -> None:
    error = refusal(lambda: text_column(table(text=["a", None, "b", None]), "text", TEXT))
    assert (error.reason, error.field) == (DATA_INVALID, TEXT)
    assert error.message == "column 'text' lacks a value in 2 rows, the first is row 1"


def test_a_key_that_some_lines_lack_is_a_missing_cell(write: Write) -> None:
    read = read_table(write("rows.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n'), None, FIELD)
    assert "lacks a value in 1 rows" in refusal(lambda: text_column(read, "label", TEXT)).message


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        (pa.array([1, 20]), ["1", "20"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
    ],
)
def test_scalars_are_written_out(cells: Any, texts: list[str]) -> None:
    assert text_column(table(text=cells), "text", TEXT) == texts


@pytest.mark.parametrize("cells", [[["a"], ["b"]], [{"a": 1}, {"a": 2}], [b"\xff", b"a"]])
def test_a_column_of_anything_else_is_no_text(cells: Any) -> None:
    error = refusal(lambda: text_column(table(text=cells), "text", TEXT))
    assert (error.reason, error.field) == (DATA_INVALID, TEXT)
    assert "not text" in error.message
