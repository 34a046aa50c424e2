from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.data.reading import examples_of
from tests.unit.tiny_causal import CausalJob, write_jsonl
from thaw_trainer.data.documents import DOCUMENTS
from thaw_trainer.data.examples import Examples
from thaw_trainer.errors import TrainerError

CHAT = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "green"}]


def read(path: Path, changes: dict[str, Any] | None = None) -> Examples:
    spec = CausalJob.there(path.parent).spec({"data.train": {"uri": f"file:{path.name}"}} | (changes or {}))
    return examples_of(DOCUMENTS, spec.data, path)


def refused(path: Path, changes: dict[str, Any] | None = None) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        read(path, changes)
    return caught.value


def test_documents_of_a_text_file_are_separated_by_blank_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\ufeffone\r\ntwo\r\n\r\n  \r\nthree\r\n", encoding="utf-8", newline="")
    assert read(file).columns["example"] == ["one\ntwo", "three"]


def test_each_file_of_a_folder_is_a_document_whose_blank_lines_stay(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    for name, text in (("b/2.txt", "two\n\ntwo\n"), ("1.txt", "one\n"), ("3.md", "no"), ("4.txt", " \n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    assert read(folder).columns["example"] == ["one", "two\n\ntwo"]


def test_a_document_knows_its_file_for_the_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo", encoding="utf-8")
    data = CausalJob.there(tmp_path).spec({"data.train": {"uri": "file:a.txt", "format": "text"}}).data
    table = DOCUMENTS.open(data, data.train, tmp_path / "a.txt", "spec.data.train").table
    assert table["file"].to_pylist() == ["a.txt", "a.txt"]


@pytest.mark.parametrize(
    ("row", "kind", "example"),
    [
        ({"text": "a b"}, "text", "a b"),
        ({"messages": CHAT}, "messages", json.dumps(CHAT)),
        ({"prompt": "a", "completion": "b"}, "completion", '["a", "b"]'),
        ({"prompt": "a", "completion": "b", "text": "c"}, "text", "c"),
    ],
)
def test_the_columns_say_what_an_example_is(tmp_path: Path, row: dict[str, Any], kind: str, example: str) -> None:
    found = read(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert (found.columns["kind"], found.columns["example"]) == ([kind], [example])


def test_roles_that_are_named_say_it_whatever_else_is_there(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "c", "question": "a", "completion": "b"}])
    assert read(file, {"data.columns": {"prompt": "question"}}).columns["example"] == ['["a", "b"]']


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ({"body": "a"}, "spec.data.columns", "none of the columns"),
        ({"messages": "a"}, "spec.data.columns.messages", "list of"),
        ({"messages": [{"role": "user"}]}, "spec.data.columns.messages", "row 0: its turn 0"),
        ({"messages": CHAT[:1]}, "spec.data.columns.messages", "no turn of the assistant"),
    ],
)
def test_what_is_no_example_is_refused_by_its_field(tmp_path: Path, row: Any, field: str, words: str) -> None:
    error = refused(write_jsonl(tmp_path / "a.jsonl", [row]))
    assert error.field == field
    assert words in error.message


def test_turns_keep_what_they_have_and_nothing_else(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a", "name": "b"}, {"role": "assistant", "content": "c"}]
    file = write_jsonl(tmp_path / "a.jsonl", [{"messages": chat}])
    assert json.loads(read(file).columns["example"][0]) == chat


def test_an_empty_folder_and_a_folder_that_is_a_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    assert "no *.txt" in refused(tmp_path / "texts").message
    changes = {"data.train": {"uri": "file:texts", "format": "jsonl"}}
    assert "a table is one file" in refused(tmp_path / "texts", changes).message
