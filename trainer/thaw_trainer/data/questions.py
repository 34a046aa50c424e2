"""Questions about contexts to a prepared store: read, split by context, tokenized once into windows.

A context that is too long for the model is read in windows that overlap by a stride; each is a row. An answer that lies
in a window whole is the window's answer; a window without one answers with its first special token (Devlin et al.,
arXiv 1810.04805, section 4.3).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSource, DataSpec
from thaw_api.steps import QUESTION_FEATURES, Windows, read_steps
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import Columns, Reader, read_splits
from thaw_trainer.data.rows import Rows, open_table
from thaw_trainer.data.store import Made, digest
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import URI_FIELD

NOWHERE = -1
"""Offset of a token that is not of the context."""
_ROLES = ("question", "context", "answers")
_ANSWERS_FIELD = "spec.data.columns.answers"
_ANSWERS = pa.struct({"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())})
_ROWS_OF_A_CLASS = 32


@dataclass(frozen=True)
class Question:
    """A question, the context that it is about, and its answers: (text, first character) each, none where the context
    has no answer."""

    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


def _open(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    if source.format != "squad" and (source.format or path.suffix.lower() != ".json"):
        return open_table(data, source, path, field)
    questions = _read_squad(path, field)
    if not questions:
        raise TrainerError(DATA_INVALID, f"{path} has no questions", f"{field}.uri")
    columns = (
        [each.question for each in questions],
        [each.context for each in questions],
        pa.array([_as_lists(each.answers) for each in questions], _ANSWERS),
    )
    return Rows(pa.table(dict(zip((data.column(role) for role in _ROLES), columns, strict=True))))


def _parse(data: DataSpec, rows: Rows) -> Columns:
    """Examples of columns `row` (a Question) and `identity`; `answers` of a table are a struct of two lists, `text` and
    `answer_start`, as datasets has SQuAD."""
    names = [data.column(role) for role in _ROLES]
    question, context = (
        rows.texts(name, f"spec.data.columns.{role}") for name, role in zip(names[:2], _ROLES, strict=False)
    )
    answers = rows.each(names[2], _ANSWERS_FIELD, _from_lists)
    questions = [_trimmed(Question(*each)) for each in zip(question, context, (a or () for a in answers), strict=True)]
    for place, each in enumerate(questions):
        for text, start in each.answers:
            found = each.context[start : start + len(text)]
            if start < 0 or found != text:
                message = f"the answer {text!r} is not at character {start} of its context: {found!r} is"
                rows.mark(place, message, _ANSWERS_FIELD)
    return {"row": questions, "identity": [(each.question, each.context) for each in questions]}


def _as_lists(answers: tuple[tuple[str, int], ...]) -> dict[str, list[Any]]:
    return {"text": [text for text, _ in answers], "answer_start": [start for _, start in answers]}


def _from_lists(answers: Any) -> tuple[tuple[str, int], ...]:
    try:
        return _answers(zip(answers["text"], answers["answer_start"], strict=True))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"its answers are no struct of two lists, text and answer_start: {error}") from error


QUESTIONS = Reader(_open, _parse, identity="identity", roles=_ROLES)
"""Reads SQuAD's json, and tables. It has no texts that steps could be about unasked: answers say where in a context
they are, and a question alone is half of an example."""


def _trimmed(question: Question) -> Question:
    """The question without spaces about its answers, as tools of annotation leave them, and without empty answers."""
    answers = (
        (text.strip(), start + len(text) - len(text.lstrip())) for text, start in question.answers if text.strip()
    )
    return replace(question, answers=tuple(dict.fromkeys(answers)))


def make_question_store(data: DataSpec, paths: dict[str, Path], tokenizer: Any, limit: int) -> Made:
    """Facts and tables of a store.

    A split's rows are windows: `id` (of the question), `input_ids`, `segments` (empty for a model without), `start` and
    `end` (tokens of the answer), `special` (the token that stands for none), `offsets` (first and last character of
    each token of the context, NOWHERE otherwise). `<split>-questions` has `id`, `context` and `answers`.
    """
    read = read_splits(data, paths, QUESTIONS, apart_by=data.column("context"))
    splits = read.splits
    (windows,) = [step for _, step in read_steps(data.features, QUESTION_FEATURES)][-1:] or [Windows()]
    tables: dict[str, pa.Table] = {}
    content = {}
    for name, rows in splits.items():
        questions: list[Question] = list(rows.columns["row"])
        tables[name] = _windows(questions, rows.ids, tokenizer, limit, min(windows.stride, limit // 2))
        read.counts[f"windows{name.capitalize()}"] = tables[name].num_rows
        tables[f"{name}-questions"] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "context": pa.array([each.context for each in questions], pa.large_string()),
                "answers": pa.array([[text for text, _ in each.answers] for each in questions], pa.list_(pa.string())),
            }
        )
        content[name] = ([vars(each) for each in questions], rows.ids.tolist())
    lengths = {name: np.diff(tables[name]["input_ids"].combine_chunks().offsets.to_numpy()) for name in splits}
    longest = int(max(each.max() for each in lengths.values()))
    widths = fit_widths(lengths["train"], longest, _ROWS_OF_A_CLASS)
    facts = {
        "fingerprint": digest(content),
        "widths": widths if data.batching.strategy == "bucket" else [limit],
        "padToken": tokenizer.pad_token_id,
        "padLeft": tokenizer.padding_side == "left",
        "longestAnswer": 1 + int((tables["train"]["end"].to_numpy() - tables["train"]["start"].to_numpy()).max()),
        "unanswerable": any(not each.answers for each in splits["train"].columns["row"]),
    }
    return read.made(facts, tables)


def _windows(questions: list[Question], ids: Any, tokenizer: Any, limit: int, stride: int) -> pa.Table:
    if not tokenizer.is_fast:
        raise TrainerError(
            MODEL_UNREADABLE,
            "the tokenizer does not tell where its tokens are in a text: it has no tokenizer.json",
            URI_FIELD,
        )
    _check_room(questions, ids, tokenizer, limit, stride)
    encoded = _tokenized(questions, tokenizer, limit, stride)
    of = encoded["overflow_to_sample_mapping"]
    starts, ends, specials, offsets = [], [], [], []
    for window, number in enumerate(of):
        parts, places = encoded.sequence_ids(window), encoded["offset_mapping"][window]
        own = [place if part == 1 else (NOWHERE, NOWHERE) for part, place in zip(parts, places, strict=True)]
        special = next((token for token, part in enumerate(parts) if part is None), 0)
        start, end = _answer_in(own, questions[number].answers, special)
        starts.append(start)
        ends.append(end)
        specials.append(special)
        offsets.append(np.asarray(own, dtype=np.int32).ravel())
    integers = pa.list_(pa.int32())
    segments = encoded.get("token_type_ids") or [[] for _ in of]
    return pa.table(
        {
            "id": pa.array(ids[np.asarray(of)], pa.int64()),
            "input_ids": pa.array(encoded["input_ids"], integers),
            "segments": pa.array(segments, integers),
            "start": pa.array(starts, pa.int64()),
            "end": pa.array(ends, pa.int64()),
            "special": pa.array(specials, pa.int64()),
            "offsets": pa.array(offsets, integers),
        }
    )


def _check_room(questions: list[Question], ids: Any, tokenizer: Any, limit: int, stride: int) -> None:
    """Windows go on by what a question leaves of the limit, less the stride: that has to be something."""
    asked = tokenizer([each.question.lstrip() for each in questions], add_special_tokens=False)["input_ids"]
    lengths = [len(tokens) + tokenizer.num_special_tokens_to_add(pair=True) for tokens in asked]
    row = int(np.argmax(lengths))
    if limit - lengths[row] <= stride:
        raise TrainerError(
            DATA_INVALID,
            f"the question of row {ids[row]} leaves {max(0, limit - lengths[row])} of {limit} tokens for its context, "
            f"and windows overlap by {stride}",
            "spec.data.batching.maxLength",
        )


def _tokenized(questions: list[Question], tokenizer: Any, limit: int, stride: int) -> Any:
    return tokenizer(
        [each.question.lstrip() for each in questions],
        [each.context for each in questions],
        truncation="only_second",
        max_length=limit,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def _answer_in(offsets: list[tuple[int, int]], answers: tuple[tuple[str, int], ...], special: int) -> tuple[int, int]:
    """First and last token of the first answer, where the window has it whole; else the special token twice."""
    if not answers:
        return special, special
    text, first = answers[0]
    last = first + len(text)
    begins = [token for token, (begin, end) in enumerate(offsets) if begin != NOWHERE and begin <= first < end]
    stops = [token for token, (begin, end) in enumerate(offsets) if begin != NOWHERE and begin < last <= end]
    return (begins[0], stops[-1]) if begins and stops else (special, special)


def _read_squad(path: Path, field: str) -> list[Question]:
    """SQuAD's own json, version 1.1 or 2.0 (arXiv 1606.05250, 1806.03822)."""
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        return [
            Question(
                _text(asked["question"]),
                _text(paragraph["context"]),
                _answers((each["text"], each["answer_start"]) for each in asked.get("answers", ())),
            )
            for article in articles
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise TrainerError(
            DATA_UNREADABLE, f"{path} is no readable squad: {type(error).__name__}: {error}", f"{field}.uri"
        ) from error


def _answers(found: Iterable[tuple[Any, Any]]) -> tuple[tuple[str, int], ...]:
    """Texts with their first characters, each pair once."""
    return tuple(dict.fromkeys((_text(text), _whole(start)) for text, start in found))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
