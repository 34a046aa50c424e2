"""Sentences whose words have tags to a prepared store: read, split, tags fitted on train, tokenized once.

A word is as many tokens as the tokenizer makes of it; the first of them bears the word's tag, the others none (as in
Devlin et al., arXiv 1810.04805, section 5.3).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import SPLITS, Columns, Examples, Reader, fingerprint, read_splits
from thaw_trainer.data.rows import Rows, open_table
from thaw_trainer.data.store import Made
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError

NO_TAG = -100
"""Label of a token that bears no tag: torch's cross-entropy leaves it out."""
OUTSIDE = "O"
CUT_OFF = -1
"""Predicted tag of a word that was not read: it is never right."""
_ROWS_OF_A_CLASS = 32
_ROLES = ("tokens", "tags")


def _open(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    if source.format != "conll" and (source.format or path.suffix.lower() not in (".conll", ".bio", ".iob")):
        return open_table(data, source, path, field)
    names = [data.column(role) for role in _ROLES]
    return Rows(pa.table(dict(zip(names, _read_conll(path, field), strict=True))))


def _parse(data: DataSpec, rows: Rows) -> Columns:
    """Examples of columns `tokens` (a tuple of words) and `tags` (as many)."""
    tokens, tags = (_lists(rows, data.column(role), f"spec.data.columns.{role}") for role in _ROLES)
    for place, (words, their_tags) in enumerate(zip(tokens, tags, strict=True)):
        if len(words) != len(their_tags) or not words:
            rows.mark(place, f"it has {len(words)} tokens and {len(their_tags)} tags", "spec.data.columns.tags")
    return {"tokens": tokens, "tags": tags}


TAGGED_WORDS = Reader(_open, _parse, identity="tokens", roles=_ROLES)
"""Reads CoNLL files, and tables of lists."""


def make_tagged_store(data: DataSpec, paths: dict[str, Path], tokenizer: Any, limit: int) -> Made:
    """Facts and tables of a store: `input_ids`, `label` (a tag's number or NO_TAG for each token), `word` (the word
    of each token, -1 for none) and `tags` (of every word, those that were cut off included)."""
    read = read_splits(data, paths, TAGGED_WORDS)
    splits = read.splits
    labels = _fit_tags(splits)
    number = {label: index for index, label in enumerate(labels)}
    tables = {}
    for name, rows in splits.items():
        encoded = tokenizer(
            [list(words) for words in rows.columns["tokens"]],
            is_split_into_words=True,
            truncation=True,
            max_length=limit,
        )
        tags = [[number[tag] for tag in their_tags] for their_tags in rows.columns["tags"]]
        words = [_first_tokens(encoded.word_ids(row)) for row in range(len(rows))]
        label = [
            [their_tags[word] if word >= 0 else NO_TAG for word in own]
            for own, their_tags in zip(words, tags, strict=True)
        ]
        read.counts[f"wordsCutOff{name.capitalize()}"] = sum(
            len(their_tags) - sum(word >= 0 for word in own) for own, their_tags in zip(words, tags, strict=True)
        )
        integers = pa.list_(pa.int32())
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "input_ids": pa.array(encoded["input_ids"], integers),
                "label": pa.array(label, integers),
                "word": pa.array(words, integers),
                "tags": pa.array(tags, integers),
            }
        )
    lengths = {name: np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) for name, table in tables.items()}
    longest = int(max(each.max() for each in lengths.values()))
    widths = fit_widths(lengths["train"], longest, _ROWS_OF_A_CLASS)
    facts = {
        "labels": labels,
        "fingerprint": fingerprint(splits, _ROLES),
        "widths": widths if data.batching.strategy == "bucket" else [limit],
        "padToken": tokenizer.pad_token_id,
        "padLeft": tokenizer.padding_side == "left",
    }
    return read.made(facts, tables)


def _first_tokens(words: list[int | None]) -> list[int]:
    """The word of each token that begins one; -1 for all other tokens."""
    return [
        word if word is not None and (place == 0 or words[place - 1] != word) else -1
        for place, word in enumerate(words)
    ]


def _fit_tags(splits: dict[str, Examples]) -> list[str]:
    tags = {name: {tag for row in rows.columns["tags"] for tag in row} for name, rows in splits.items()}
    if len(tags["train"]) < 2:
        raise TrainerError(
            DATA_INVALID,
            f"a tagger needs 2 tags; the training rows have {sorted(tags['train'])}",
            "spec.data.columns.tags",
        )
    for name in SPLITS[1:]:
        unknown = sorted(tags[name] - tags["train"])
        if unknown:
            raise TrainerError(
                DATA_INVALID, f"{name} has tags that no training row has: {unknown[:5]}", "spec.data.columns.tags"
            )
    return sorted(tags["train"])


def _read_conll(path: Path, field: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Sentences of a CoNLL file: a line for each word, its first column the word and its last one the tag; blank lines
    and -DOCSTART- between sentences."""
    tokens: list[tuple[str, ...]] = []
    tags: list[tuple[str, ...]] = []
    sentence: list[tuple[str, str]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainerError(DATA_UNREADABLE, f"{path} is no readable text: {error}", f"{field}.uri") from error
    for number, line in enumerate([*lines, ""], start=1):
        parts = line.split()
        if parts and parts[0] != "-DOCSTART-":
            if len(parts) < 2:
                raise TrainerError(
                    DATA_INVALID, f"{path}, line {number}: a word without a tag: {line!r}", f"{field}.uri"
                )
            sentence.append((parts[0], parts[-1]))
        elif sentence:
            words, their_tags = zip(*sentence, strict=True)
            tokens.append(words)
            tags.append(their_tags)
            sentence = []
    if not tokens:
        raise TrainerError(DATA_INVALID, f"{path} has no rows", f"{field}.uri")
    return tokens, tags


def _lists(rows: Rows, name: str, field: str) -> list[tuple[str, ...]]:
    values = rows.column(name, field)
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):
        raise TrainerError(DATA_INVALID, f"column {name!r} holds {values.type}, not lists", field)
    if not (pa.types.is_string(values.type.value_type) or pa.types.is_large_string(values.type.value_type)):
        message = f"column {name!r} holds lists of {values.type.value_type}, not of text: write tags by their names"
        raise TrainerError(DATA_INVALID, message, field)
    found = [tuple(row or ()) for row in values.to_pylist()]
    for place, row in enumerate(found):
        if None in row:
            rows.mark(place, f"column {name!r} lacks a value in its list", field)
    return found
