"""Labelled texts to a prepared store: read, split, labels fitted on train, duplicates of train taken out of what is
held out, tokenized once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSource, DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import length_classes, merge_rare_classes
from thaw_trainer.data.splitting import split_rows
from thaw_trainer.data.store import PreparedStore, digest, file_digest, open_or_write
from thaw_trainer.data.tables import read_table, text_column
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.models import sequence_classifier
from thaw_trainer.uris import UriRoots, resolve_data, resolve_model

_LAYOUT = 3
"""Version of what is written; part of the store's key."""
_MODEL_FILES = (".json", ".txt", ".model", ".safetensors")
"""Endings of the files that a model is: their content is part of the store's key, not where they are."""
_ROWS_OF_A_CLASS = 32
"""A length class has this many training rows at least."""
_SPLITS = ("train", "validation", "test")


class LabelledTexts:
    """Rows of one split before tokenization; `ids` are row numbers in the source."""

    def __init__(self, texts: list[str], labels: list[str], ids: np.ndarray[Any, Any]) -> None:
        self.texts, self.labels, self.ids = texts, labels, ids

    def take(self, rows: np.ndarray[Any, Any]) -> "LabelledTexts":
        """Some of the rows."""
        return LabelledTexts([self.texts[i] for i in rows], [self.labels[i] for i in rows], self.ids[rows])

    def __len__(self) -> int:
        return len(self.texts)


def prepare_store(spec: FineTuneJobSpec, roots: UriRoots, stores: Path) -> PreparedStore:
    """The store for a spec's data and tokenizer, made if it is not there yet.

    Raises:
        TrainerError: whatever is wrong with the data or the model's files.
    """
    model_folder = resolve_model(spec.model.uri, "spec.model.uri", roots)
    paths = {
        name: resolve_data(source.uri, f"spec.data.{name}.uri", roots)
        for name in _SPLITS
        if (source := getattr(spec.data, name)) is not None
    }
    for name, path in paths.items():
        if not path.is_file():
            raise TrainerError(DATA_INVALID, f"{path} is a folder; a table is one file", f"spec.data.{name}.uri")
    model_files = sorted(path for path in model_folder.glob("*") if path.suffix in _MODEL_FILES)
    key = digest(
        _LAYOUT,
        spec.data.manifest(),
        {name: file_digest(path) for name, path in paths.items()},
        {path.name: (path.stat().st_size, file_digest(path)) for path in model_files},
    )
    store = open_or_write(stores, key, lambda: _make(spec, paths, model_folder))
    return store.with_fact("modelFolder", str(model_folder))


def read_splits(data: DataSpec, paths: dict[str, Path]) -> tuple[dict[str, LabelledTexts], dict[str, int]]:
    """The texts of each split, and counts of what was read and taken out."""
    read = {name: _read(data, getattr(data, name), paths[name], f"spec.data.{name}") for name in paths}
    counts = {"read": sum(len(rows) for rows, _ in read.values())}
    train, table = read["train"]
    splits = {name: rows for name, (rows, _) in read.items()}
    held = {name: getattr(data.split, name) for name in _SPLITS[1:] if name not in read}
    if any(held.values()):
        by = {
            name: text_column(table, column, f"spec.data.split.{name}") if column else None
            for name, column in (("stratifyBy", data.split.stratify_by), ("groupBy", data.split.group_by))
        }
        chosen = split_rows(
            len(train),
            held.get("validation", 0.0),
            held.get("test", 0.0),
            data.split.seed,
            strata=by["stratifyBy"],
            groups=by["groupBy"],
        )
        splits |= {name: train.take(rows) for name, rows in chosen.items() if name == "train" or name in held}
    for name in _SPLITS[1:]:
        if not splits.get(name):
            raise TrainerError(
                DATA_INVALID,
                f"no rows to {'choose by' if name == 'validation' else 'test on'}: "
                f"give data.{name}, or a share above 0 in data.split.{name}",
                f"spec.data.split.{name}",
            )
    return _without_duplicates(splits, counts)


def _read(data: DataSpec, source: DataSource, path: Path, field: str) -> tuple[LabelledTexts, pa.Table]:
    table = read_table(path, source.format, field)
    texts = text_column(table, data.columns.get("text", "text"), "spec.data.columns.text")
    labels = text_column(table, data.columns.get("label", "label"), "spec.data.columns.label")
    return LabelledTexts(texts, labels, np.arange(len(texts))), table


def _without_duplicates(
    splits: dict[str, LabelledTexts], counts: dict[str, int]
) -> tuple[dict[str, LabelledTexts], dict[str, int]]:
    """Held-out rows whose text is also trained on (or, in test, chosen by) leave the held-out side."""
    seen = set(splits["train"].texts)
    kept = {"train": splits["train"]}
    for name in _SPLITS[1:]:
        rows = splits[name]
        fresh = np.asarray([i for i, text in enumerate(rows.texts) if text not in seen], dtype=np.int64)
        counts[f"duplicatesOutOf{name.capitalize()}"] = len(rows) - len(fresh)
        if not len(fresh):
            raise TrainerError(DATA_INVALID, f"every row of {name} is also in train", f"spec.data.{name}")
        kept[name] = rows.take(fresh)
        seen.update(rows.texts)
    return kept, counts | {name: len(rows) for name, rows in kept.items()}


def _make(
    spec: FineTuneJobSpec, paths: dict[str, Path], model_folder: Path
) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    splits, counts = read_splits(spec.data, paths)
    labels = _fit_labels(splits)
    tokenizer = sequence_classifier.load_tokenizer(model_folder)
    limit = _longest_allowed(spec, model_folder, tokenizer)
    number = {label: index for index, label in enumerate(labels)}
    tables = {}
    for name, rows in splits.items():
        tokens = tokenizer(rows.texts, truncation=True, max_length=limit, return_attention_mask=False)["input_ids"]
        _check_tokens(name, rows, tokens)
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "label": pa.array([number[label] for label in rows.labels], pa.int64()),
                "input_ids": pa.array(tokens, pa.list_(pa.int32())),
            }
        )
    lengths = {name: np.diff(table["input_ids"].combine_chunks().offsets.to_numpy()) for name, table in tables.items()}
    longest = int(max(each.max() for each in lengths.values()))
    widths = merge_rare_classes(length_classes(longest), lengths["train"], _ROWS_OF_A_CLASS)
    facts = {
        "labels": labels,
        "counts": counts,
        "fingerprint": digest({name: (rows.texts, rows.labels, rows.ids.tolist()) for name, rows in splits.items()}),
        "widths": widths.tolist() if spec.data.batching.strategy == "bucket" else [limit],
        "maxTokens": limit,
        "padToken": tokenizer.pad_token_id,
        "padLeft": tokenizer.padding_side == "left",
        "classes": {name: {label: rows.labels.count(label) for label in labels} for name, rows in splits.items()},
    }
    return facts, tables


def _check_tokens(name: str, rows: LabelledTexts, tokens: list[list[int]]) -> None:
    """A tokenizer without special tokens leaves nothing of an empty text, which no model can read."""
    empty = [int(row) for row, each in zip(rows.ids, tokens, strict=True) if not each]
    if empty:
        raise TrainerError(
            DATA_INVALID,
            f"{len(empty)} rows of {name} have no token, the first is row {empty[0]}",
            "spec.data.columns.text",
        )


def _fit_labels(splits: dict[str, LabelledTexts]) -> list[str]:
    labels = sorted(set(splits["train"].labels))
    if len(labels) < 2:
        raise TrainerError(
            DATA_INVALID, f"a classifier needs 2 labels; the training rows have {labels}", "spec.data.columns.label"
        )
    for name in _SPLITS[1:]:
        unknown = sorted(set(splits[name].labels) - set(labels))
        if unknown:
            raise TrainerError(
                DATA_INVALID,
                f"{name} has labels that no training row has: {unknown[:5]}; use data.split.stratifyBy, or more rows",
                "spec.data.columns.label",
            )
    return labels


def _longest_allowed(spec: FineTuneJobSpec, model_folder: Path, tokenizer: Any) -> int:
    config = sequence_classifier.load_config(model_folder, spec.model, ["0", "1"], None)
    limits = (spec.data.batching.max_length, tokenizer.model_max_length, sequence_classifier.longest_input(config))
    return min(int(limit) for limit in limits if limit)
