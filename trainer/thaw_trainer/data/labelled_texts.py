"""Labelled texts to a prepared store: read, split, labels fitted on train, duplicates of train taken out of what is
held out, tokenized once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSource, DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import length_classes, merge_rare_classes
from thaw_trainer.data.examples import Examples, Read, class_counts, fit_labels, read_splits, source_paths
from thaw_trainer.data.store import Made, PreparedStore, digest, file_digest, open_or_write
from thaw_trainer.data.tables import read_table, text_column
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.models import pretrained, sequence_classifier
from thaw_trainer.uris import UriRoots, resolve_model

_LAYOUT = 3
"""Version of what is written; part of the store's key."""
_ROWS_OF_A_CLASS = 32
"""A length class has this many training rows at least."""


def prepare_store(spec: FineTuneJobSpec, roots: UriRoots, stores: Path) -> PreparedStore:
    """The store for a spec's data and tokenizer, made if it is not there yet.

    Raises:
        TrainerError: whatever is wrong with the data or the model's files.
    """
    model_folder = resolve_model(spec.model.uri, "spec.model.uri", roots)
    paths = source_paths(spec.data, roots)
    for name, path in paths.items():
        if not path.is_file():
            raise TrainerError(DATA_INVALID, f"{path} is a folder; a table is one file", f"spec.data.{name}.uri")
    key = digest(
        _LAYOUT,
        spec.data.manifest(),
        {name: file_digest(path) for name, path in paths.items()},
        {path.name: (path.stat().st_size, file_digest(path)) for path in pretrained.model_files(model_folder)},
    )
    store = open_or_write(stores, key, lambda folder: _make(spec, paths, model_folder))
    return store.with_fact("modelFolder", str(model_folder))


def _read(data: DataSpec, source: DataSource, path: Path, field: str) -> Read:
    table = read_table(path, source.format, field)
    texts = text_column(table, data.columns.get("text", "text"), "spec.data.columns.text")
    labels = text_column(table, data.columns.get("label", "label"), "spec.data.columns.label")
    return Examples({"text": texts, "label": labels}, np.arange(len(texts))), table


def _make(spec: FineTuneJobSpec, paths: dict[str, Path], model_folder: Path) -> Made:
    splits, counts = read_splits(spec.data, paths, _read, identity="text")
    labels = fit_labels(splits)
    tokenizer = pretrained.load_tokenizer(model_folder)
    limit = _longest_allowed(spec, model_folder, tokenizer)
    number = {label: index for index, label in enumerate(labels)}
    tables = {}
    for name, rows in splits.items():
        tokens = tokenizer(rows.columns["text"], truncation=True, max_length=limit, return_attention_mask=False)[
            "input_ids"
        ]
        _check_tokens(name, rows, tokens)
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "label": pa.array([number[label] for label in rows.columns["label"]], pa.int64()),
                "input_ids": pa.array(tokens, pa.list_(pa.int32())),
            }
        )
    lengths = {name: np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) for name, table in tables.items()}
    longest = int(max(each.max() for each in lengths.values()))
    widths = merge_rare_classes(length_classes(longest), lengths["train"], _ROWS_OF_A_CLASS)
    facts = {
        "labels": labels,
        "counts": counts,
        "fingerprint": _fingerprint(splits),
        "widths": widths.tolist() if spec.data.batching.strategy == "bucket" else [limit],
        "maxTokens": limit,
        "padToken": tokenizer.pad_token_id,
        "padLeft": tokenizer.padding_side == "left",
        "classes": class_counts(splits, labels),
    }
    return facts, tables


def _fingerprint(splits: dict[str, Examples]) -> str:
    """Digest of which rows are in which split."""
    return digest(
        {name: (rows.columns["text"], rows.columns["label"], rows.ids.tolist()) for name, rows in splits.items()}
    )


def _check_tokens(name: str, rows: Examples, tokens: list[list[int]]) -> None:
    """A tokenizer without special tokens leaves nothing of an empty text, which no model can read."""
    empty = [int(row) for row, each in zip(rows.ids, tokens, strict=True) if not each]
    if empty:
        raise TrainerError(
            DATA_INVALID,
            f"{len(empty)} rows of {name} have no token, the first is row {empty[0]}",
            "spec.data.columns.text",
        )


def _longest_allowed(spec: FineTuneJobSpec, model_folder: Path, tokenizer: Any) -> int:
    config = sequence_classifier.load_config(model_folder, spec.model, ["0", "1"], None)
    positions = pretrained.longest_input(sequence_classifier.build_empty(config))
    limits = (spec.data.batching.max_length, tokenizer.model_max_length, positions)
    return min(int(limit) for limit in limits if limit)
