"""Labelled texts, or pairs of them, to a prepared store: read, split, labels fitted on train, duplicates of train taken
out of what is held out, tokenized once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import Columns, Examples, Reader, fingerprint, read_splits
from thaw_trainer.data.rows import Rows, open_table
from thaw_trainer.data.store import Made
from thaw_trainer.data.tokenizing import tokenized
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.labels.kind import Labels
from thaw_trainer.labels.registry import find_labels

PAIR = "textPair"
"""Role of a row's second text. A table is of pairs where `data.columns` names it."""
_ROWS_OF_A_CLASS = 32
"""A length class has this many training rows at least."""


def make_text_store(data: DataSpec, paths: dict[str, Path], tokenizer: Any, limit: int) -> Made:
    """Facts and tables of a store: `id`, `label`, `input_ids`, and `segments` (which text a token is of; empty where
    the tokenizer does not tell, or calls all of them the first)."""
    labels = find_labels(data.labels)
    read = read_splits(data, paths, _reader(data, labels))
    splits = read.splits
    fitted = labels.fit(splits, data)
    tables = {name: _tokenized(name, rows, tokenizer, limit) for name, rows in splits.items()}
    tables = {
        name: table.add_column(1, "label", labels.stored(splits[name].columns["label"], fitted["labels"]))
        for name, table in tables.items()
    }
    lengths = {name: np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) for name, table in tables.items()}
    longest = int(max(each.max() for each in lengths.values()))
    widths = fit_widths(lengths["train"], longest, _ROWS_OF_A_CLASS)
    facts = fitted | {
        "fingerprint": fingerprint(splits, ("texts", "label")),
        "widths": widths if data.batching.strategy == "bucket" else [limit],
        "maxTokens": limit,
        "padToken": tokenizer.pad_token_id,
        "padSegment": getattr(tokenizer, "pad_token_type_id", 0),
        "padLeft": tokenizer.padding_side == "left",
    }
    if data.augment:
        facts |= _what_hides(tokenizer)
    return read.made(facts, tables)


def _what_hides(tokenizer: Any) -> dict[str, Any]:
    """`hiddenToken`, which stands in the place of hidden ones, and `specialTokens`, which never are."""
    token = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    if token is None:
        message = "the model's tokenizer has neither a mask token nor an unknown one to hide others with"
        raise TrainerError(DATA_INVALID, message, "spec.data.augment")
    return {"hiddenToken": token, "specialTokens": sorted(tokenizer.all_special_ids)}


def _reader(data: DataSpec, labels: Labels) -> Reader:
    """Reads examples of columns `texts` (one or two of each row) and `label`."""
    roles = ("text", PAIR) if PAIR in data.columns else ("text",)

    # With a separator, a cell that is missing is a row without labels.
    labelled = () if data.labels.separator else ("label",)

    def parse(data: DataSpec, rows: Rows) -> Columns:
        texts = [rows.texts(data.column(role), f"spec.data.columns.{role}") for role in roles]
        return {"texts": list(zip(*texts, strict=True)), "label": labels.read(rows, data)}

    return Reader(open_table, parse, identity="texts", roles=(*roles, *labelled), texts=roles)


def _tokenized(name: str, rows: Examples, tokenizer: Any, limit: int) -> pa.Table:
    tokens, segments = tokenized(tokenizer, rows.columns["texts"], limit)
    _check_tokens(name, rows, tokens)
    return pa.table({"id": pa.array(rows.ids, pa.int64()), "input_ids": tokens, "segments": segments})


def _check_tokens(name: str, rows: Examples, tokens: pa.Array) -> None:
    """A tokenizer without special tokens leaves nothing of an empty text, which no model can read."""
    empty = rows.ids[np.diff(tokens.offsets) == 0]
    if len(empty):
        raise TrainerError(
            DATA_INVALID,
            f"{len(empty)} rows of {name} have no token, the first is row {empty[0]}",
            "spec.data.columns.text",
        )
