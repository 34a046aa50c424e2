"""Documents, chats and completions to a prepared store: read, split, tokenized once, and packed where the manifest says
so. Rows of training are joined only; a held-out row stays one, so that each is measured by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.counted_tokens import CountedTokens, counted_tokens
from thaw_trainer.data.documents import DOCUMENTS, source_files
from thaw_trainer.data.examples import Examples, fingerprint, read_splits, source_paths
from thaw_trainer.data.kept_stores import KeptStores
from thaw_trainer.data.packing import pack, padding_share
from thaw_trainer.data.store import Made, PreparedStore, digest, file_digest, open_or_write
from thaw_trainer.errors import DATA_INVALID, MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import causal_lm, pretrained
from thaw_trainer.uris import UriRoots, resolve_model

_LAYOUT = 1
"""Version of what is written; part of the store's key."""
_ROWS_OF_A_CLASS = 32
"""A length class has this many training rows at least."""
_HELD_OUT = ("validation", "test")

Rows = list[tuple[int, CountedTokens]]
"""The id of the example that each row is of, and its tokens: a document that is longer than a row has several."""


def prepare_store(
    spec: FineTuneJobSpec, roots: UriRoots, stores: Path, kept: KeptStores | None = None
) -> PreparedStore:
    """The store for a spec's data and tokenizer, made if it is not there yet.

    Raises:
        TrainerError: whatever is wrong with the data or the model's files.
    """
    model_folder = resolve_model(spec.model.uri, "spec.model.uri", roots)
    paths = source_paths(spec.data, roots)
    sources = {
        name: [(str(file.relative_to(path)), file_digest(file)) for file in source_files(path) if file.is_file()]
        for name, path in paths.items()
    }
    key = digest(
        "causal-lm",
        _LAYOUT,
        spec.data.manifest(),
        sources,
        {path.name: (path.stat().st_size, file_digest(path)) for path in causal_lm.files(model_folder)},
    )
    store = open_or_write(stores, key, lambda _: _make(spec, paths, model_folder), kept)
    return store.with_fact("modelFolder", str(model_folder))


def _make(spec: FineTuneJobSpec, paths: dict[str, Path], model_folder: Path) -> Made:
    tokenizer = pretrained.load_tokenizer(model_folder)
    vocabulary, limit = _fitted_to_the_model(spec, model_folder, tokenizer)
    read = read_splits(spec.data, paths, DOCUMENTS)
    splits = read.splits
    rows, read.counts = _rows_of(splits, read.counts, tokenizer, limit)
    strategy = spec.data.batching.strategy
    lengths = {name: [len(tokens.ids) for _, tokens in each] for name, each in rows.items()}
    joined = {name: [[row] for row in range(len(each))] for name, each in rows.items()}
    if strategy == "pack":
        joined["train"] = pack(lengths["train"], limit)
    widths = _widths(lengths, limit, strategy)
    padded = sum(
        int(widths["train"][np.searchsorted(widths["train"], _total(lengths, each))]) for each in joined["train"]
    )
    facts = {
        "fingerprint": fingerprint(splits, ("example",)),
        "widths": widths["train"],
        "measuredWidths": {name: widths[name] for name in _HELD_OUT},
        "maxTokens": limit,
        "packed": strategy == "pack",
        "padToken": tokenizer.pad_token_id,
        "rows": {name: len(each) for name, each in joined.items()},
        "tokens": {name: sum(tokens.count for _, tokens in each) for name, each in rows.items()},
        "padding": padding_share(lengths["train"], padded),
        "baseline": _unigrams(rows, vocabulary),
    }
    return read.made(facts, {name: _table(rows[name], joined[name]) for name in rows})


def _fitted_to_the_model(spec: FineTuneJobSpec, model_folder: Path, tokenizer: Any) -> tuple[int, int]:
    """Tokens that the model has embeddings for, and tokens of a row at most."""
    model = causal_lm.build_empty(causal_lm.load_config(model_folder, spec.model))
    vocabulary = causal_lm.vocabulary(model)
    if len(tokenizer) > vocabulary:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"the tokenizer has {len(tokenizer)} tokens, the model has embeddings for {vocabulary}",
            pretrained.URI_FIELD,
        )
    limits = (spec.data.batching.max_length, tokenizer.model_max_length, pretrained.longest_input(model))
    return vocabulary, min(int(limit) for limit in limits if limit)


def _rows_of(
    splits: dict[str, Examples], counts: dict[str, int], tokenizer: Any, limit: int
) -> tuple[dict[str, Rows], dict[str, int]]:
    """Rows that fit, and the counts with what was cut or left out. A document goes on in the next row; of a chat or a
    completion, whose beginning its end cannot do without, the end is cut."""
    rows: dict[str, Rows] = {name: [] for name in splits}
    cut = left_out = 0
    for name, examples in splits.items():
        kept = 0
        whole = counted_tokens(tokenizer, examples)
        for row, kind, tokens in zip(examples.ids.tolist(), examples.columns["kind"], whole, strict=True):
            pieces = tokens.pieces(limit) if kind == "text" else [tokens.cut(limit)]
            cut += kind != "text" and len(tokens.ids) > limit
            counting = [(row, piece) for piece in pieces if piece.count]
            kept += bool(counting)
            rows[name] += counting
        if not rows[name]:
            raise TrainerError(
                DATA_INVALID,
                f"no example of {name} has a token that counts within {limit} tokens",
                "spec.data.batching.maxLength",
            )
        left_out += len(examples) - kept
        counts = counts | {name: kept}
    return rows, {"cutAtMaxLength": cut, "withoutCountedTokens": left_out, **counts}


def _total(lengths: dict[str, list[int]], rows: Sequence[int]) -> int:
    return sum(lengths["train"][row] for row in rows)


def _widths(lengths: dict[str, list[int]], limit: int, strategy: str) -> dict[str, list[int]]:
    """Length classes of each split."""
    if strategy == "pad":
        return {name: [limit] for name in lengths}
    fitted_on = dict.fromkeys(lengths, "train")
    if strategy == "pack":
        # The classes of held-out rows are their own: training rows have no length any more.
        fitted_on = {name: name for name in _HELD_OUT}
    fitted = {
        name: fit_widths(
            np.asarray(lengths[source], dtype=np.int32), max(*lengths[source], *lengths[name]), _ROWS_OF_A_CLASS
        )
        for name, source in fitted_on.items()
    }
    return {"train": [limit]} | fitted


def _table(rows: Rows, joined: Sequence[Sequence[int]]) -> pa.Table:
    """One row of the table for each sequence: the id of its first example, tokens, which of them count (never the first
    of an example, which nothing predicts), and how many tokens are of each example."""
    texts = [rows[row][1] for each in joined for row in each]
    lengths = np.asarray([len(text.ids) for text in texts])
    counted = np.concatenate([np.asarray(text.counted) for text in texts])
    counted[np.cumsum(lengths) - lengths] = False
    last_texts = np.cumsum([len(each) for each in joined])
    last_tokens = np.cumsum(lengths)[last_texts - 1]
    return pa.table(
        {
            "id": pa.array([rows[each[0]][0] for each in joined], pa.int64()),
            "input_ids": _ragged(np.concatenate([np.asarray(text.ids, np.int32) for text in texts]), last_tokens),
            "counted": _ragged(counted.astype(np.uint8), last_tokens),
            "lengths": _ragged(lengths.astype(np.int32), last_texts),
        }
    )


def _ragged(values: NDArray[Any], ends: NDArray[np.int64]) -> pa.ListArray:
    """A list for each row, which ends before its number of the values."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def _unigrams(rows: dict[str, Rows], vocabulary: int) -> dict[str, Any]:
    """The test perplexity of the training rows' token frequencies, one added to each."""
    seen = {name: np.asarray([one for _, each in rows[name] for one in _counted_ids(each)]) for name in rows}
    frequency = np.bincount(seen["train"], minlength=vocabulary) + 1.0
    loss = -np.log(frequency / frequency.sum())[seen["test"]].mean()
    return {
        "metric": "perplexity",
        "test": float(np.exp(loss)),
        "description": "a unigram model of the training tokens",
    }


def _counted_ids(tokens: CountedTokens) -> list[int]:
    return [one for one, counts in zip(tokens.ids[1:], tokens.counted[1:], strict=True) if counts]
