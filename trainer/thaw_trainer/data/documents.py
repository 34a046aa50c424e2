"""Texts to continue, as a job's sources have them: plain documents, chats, or prompts with their completions."""

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from thaw_api.data import DataSource, DataSpec
from thaw_api.tasks import TASKS
from thaw_trainer.data.examples import Columns, Reader
from thaw_trainer.data.rows import Rows, open_table
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError

Kind: TypeAlias = Literal["text", "messages", "completion"]
"""What an example is: a document, a chat, or a prompt with its completion."""

_COLUMNS = "spec.data.columns"


def _open(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    if source.format == "text" or (source.format is None and (path.is_dir() or path.suffix == ".txt")):
        if set(data.columns) - {"text"}:
            raise TrainerError(DATA_INVALID, f"{path} is plain text, which has no columns", _COLUMNS)
        names = (_column(data, "text")[0], "file")
        return Rows(pa.table(dict(zip(names, _read_texts(path, field), strict=True))))
    if path.is_dir():
        raise TrainerError(DATA_INVALID, f"{path} is a folder; a table is one file", f"{field}.uri")
    return open_table(data, source, path, field)


def _parse(data: DataSpec, rows: Rows) -> Columns:
    """The role `example` is text that says all there is: the document, or JSON of the chat ([{role, content}, ...]) or
    of the pair ([prompt, completion]). The role `kind` says which."""
    kind = _kind(data, rows.table)
    if kind == "text":
        examples = rows.texts(*_column(data, "text"))
    elif kind == "messages":
        examples = _chats(rows, *_column(data, "messages"))
    else:
        pairs = zip(*(rows.texts(*_column(data, role)) for role in ("prompt", "completion")), strict=True)
        examples = [json.dumps(pair) for pair in pairs]
    return {"example": examples, "kind": [kind] * len(examples)}


DOCUMENTS = Reader(
    _open,
    _parse,
    identity="example",
    roles=("text", "messages", "prompt", "completion"),
    texts=("text", "prompt", "completion"),
    chosen=lambda data, table: ("prompt", "completion") if (kind := _kind(data, table)) == "completion" else (kind,),
)
"""Reads plain text, and tables of documents, chats, or prompts with completions."""


def source_files(path: Path) -> list[Path]:
    """The files that a source is: itself, or a folder's texts."""
    return sorted(path.rglob("*.txt")) if path.is_dir() else [path]


def _column(data: DataSpec, role: str) -> tuple[str, str]:
    """The column of a role, and the field that names it."""
    return data.column(role), f"{_COLUMNS}.{role}"


def _kind(data: DataSpec, table: pa.Table) -> Kind:
    """By the roles that the manifest names, or else by the columns that there are."""
    task = TASKS["causal-lm"]
    sets: dict[Kind, tuple[str, ...]] = dict(
        zip(("text", "messages", "completion"), (task.columns, *task.alternatives), strict=True)
    )
    for kind, roles in sets.items():
        if set(roles) & set(data.columns):
            return kind
    for kind, roles in sets.items():
        if set(roles) <= set(table.column_names):
            return kind
    raise TrainerError(
        DATA_INVALID,
        f"the data has none of the columns text, messages, or prompt and completion; it has "
        f"{', '.join(table.column_names)}",
        _COLUMNS,
    )


def _read_texts(path: Path, field: str) -> tuple[list[str], list[str]]:
    """Documents, and the name of the file that each is from."""
    files = source_files(path)
    if not files:
        raise TrainerError(DATA_INVALID, f"{path} has no *.txt", f"{field}.uri")
    texts: list[str] = []
    names: list[str] = []
    for file in files:
        try:
            # Line ends and the byte order mark are a system's, not the text's.
            content = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TrainerError(DATA_UNREADABLE, f"{file} is no readable UTF-8 text: {error}", f"{field}.uri") from error
        found = [content.strip("\n")] if path.is_dir() else _separated_by_blank_lines(content)
        texts += [text for text in found if text.strip()]
        names += [file.name for text in found if text.strip()]
    if not texts:
        raise TrainerError(DATA_INVALID, f"{path} has no text", f"{field}.uri")
    return texts, names


def _separated_by_blank_lines(content: str) -> list[str]:
    documents: list[list[str]] = [[]]
    for line in content.split("\n"):
        if line.strip():
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return ["\n".join(lines) for lines in documents]


def _chats(rows: Rows, name: str, field: str) -> list[Any]:
    """Each chat as JSON, checked: turns with a role and a text, one of them the assistant's."""
    values = rows.column(name, field)
    if not pa.types.is_list(values.type) and not pa.types.is_large_list(values.type):
        raise TrainerError(DATA_INVALID, f"a chat is a list of {{role, content}}; found {values.type}", field)
    return rows.each(name, field, lambda turns: json.dumps(_chat(turns)))


def _chat(turns: list[Any]) -> list[dict[str, Any]]:
    """Raises ValueError with what is wrong."""
    chat = []
    for number, turn in enumerate(turns):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise ValueError(f"its turn {number} has not both a role and a text as its content")
        # Arrow gives every turn the keys of all: what a turn does not have is null.
        chat.append({key: value for key, value in turn.items() if value is not None})
    if not any(turn["role"] == "assistant" for turn in chat):
        raise ValueError("it has no turn of the assistant, which is what is learned")
    return chat
