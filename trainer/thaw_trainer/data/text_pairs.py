"""Pairs of texts, one that is read and one that is to be written, to tables of tokens."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import SPLITS, Columns, Examples, Reader, fingerprint, read_splits
from thaw_trainer.data.rows import Rows, open_table
from thaw_trainer.data.store import Made
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import URI_FIELD

_AT_A_TIME = 1000
"""Texts that are tokenized in one call: what a tokenizer knows of each is many times its tokens."""
_ROWS_OF_A_CLASS = 32
"""A length class has this many training rows at least."""

Baseline = Callable[[dict[str, Examples]], dict[str, Any]]
"""From the splits' examples, what a model must beat: metric, test, description."""


def pair_reader(source_role: str, target_role: str) -> Reader:
    """Reads tables; its examples have the columns `source` and `target`."""

    def parse(data: DataSpec, rows: Rows) -> Columns:
        columns = {}
        for name, role in (("source", source_role), ("target", target_role)):
            where = f"spec.data.columns.{role}"
            columns[name] = rows.texts(data.column(role), where)
            for place, text in enumerate(columns[name]):
                if not text.strip():
                    rows.mark(place, f"its {role} is empty", where)
        return columns

    roles = (source_role, target_role)
    return Reader(open_table, parse, identity="source", roles=roles, texts=roles)


def make_pairs(
    data: DataSpec,
    paths: dict[str, Path],
    reader: Reader,
    tokenizer: Any,
    limits: tuple[int, int],
    instruction: str,
    baseline: Baseline,
) -> Made:
    """Facts and tables of a store.

    A split's rows have `id`, `input_ids` (of the source), `labels` (tokens of the target) and `target` (the text).

    Args:
        limits: tokens that a source, and a target, may have; what is longer is cut, and counted.
        instruction: what is written before each source.

    Raises:
        TrainerError: whatever is wrong with the data, or the tokenizer does not end a text.
    """
    read = read_splits(data, paths, reader)
    splits = read.splits
    tables, cut = {}, dict.fromkeys(("sourcesCut", "targetsCut"), 0)
    for name, rows in splits.items():
        sources, cut_sources = _tokens(tokenizer, [instruction + text for text in rows.columns["source"]], limits[0])
        targets, cut_targets = _tokens(tokenizer, list(rows.columns["target"]), limits[1], as_target=True)
        cut["sourcesCut"] += cut_sources
        cut["targetsCut"] += cut_targets
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "input_ids": pa.array(sources, pa.list_(pa.int32())),
                "labels": pa.array(targets, pa.list_(pa.int32())),
                "target": pa.array(list(rows.columns["target"]), pa.large_string()),
            }
        )
    lengths = {
        role: {name: np.diff(tables[name][role].combine_chunks().offsets.to_numpy()) for name in SPLITS}
        for role in ("input_ids", "labels")
    }
    longest = max(int(each.max()) for each in lengths["input_ids"].values())
    is_bucket = data.batching.strategy == "bucket"
    widths = fit_widths(lengths["input_ids"]["train"], longest, _ROWS_OF_A_CLASS) if is_bucket else [limits[0]]
    read.counts |= cut
    facts = {
        "fingerprint": fingerprint(splits, ("source", "target")),
        "widths": widths,
        "targetWidths": {
            name: _target_widths(widths, lengths["input_ids"][name], lengths["labels"][name], limits[1])
            for name in SPLITS
        },
        "maxTokens": limits[0],
        "padToken": tokenizer.pad_token_id,
        "longestTarget": int(lengths["labels"]["train"].max()),
        "baseline": baseline(splits),
    }
    return read.made(facts, tables)


def _tokens(
    tokenizer: Any, texts: list[str], limit: int, as_target: bool = False
) -> tuple[list[NDArray[np.int32]], int]:
    """Each text's tokens, and how many texts were cut."""

    def tokenize(chosen: Sequence[str], **options: Any) -> list[NDArray[np.int32]]:
        found = []
        for first in range(0, len(chosen), _AT_A_TIME):
            given = {"text_target" if as_target else "text": list(chosen[first : first + _AT_A_TIME])}
            rows = tokenizer(**given, return_attention_mask=False, verbose=False, **options)["input_ids"]
            found += [np.asarray(row, dtype=np.int32) for row in rows]
        return found

    tokens = tokenize(texts)
    if as_target and not all(tokenizer.eos_token_id in each for each in tokens):
        message = "the tokenizer puts no end behind a target: a model would never learn to stop"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD)
    long = [index for index, each in enumerate(tokens) if len(each) > limit]
    if long:
        cut = tokenize([texts[index] for index in long], truncation=True, max_length=limit)
        for index, each in zip(long, cut, strict=True):
            tokens[index] = each
    return tokens, len(long)


def _target_widths(widths: list[int], sources: NDArray[np.int32], targets: NDArray[np.int32], limit: int) -> list[int]:
    """The padded length of targets in each class of sources: of the longest one, and a multiple of 8. Each split has
    its own, so that held-out rows decide nothing about how training rows are computed."""
    classes = np.searchsorted(widths, sources)
    longest = [int(targets[classes == index].max(initial=1)) for index in range(len(widths))]
    return [min(-(-length // 8) * 8, limit) for length in longest]
