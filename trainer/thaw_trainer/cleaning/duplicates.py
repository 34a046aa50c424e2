"""Steps that leave out what is there already: rows that are the same, and texts that are almost."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from thaw_api.cleaning import DropDuplicates, DropNearDuplicates
from thaw_trainer.cleaning.frames import Frames, Kept, Naming
from thaw_trainer.cleaning.minhash import band_keys, bands_for, shingles
from thaw_trainer.errors import DATA_INVALID, TrainerError

_KEPT_SETS = 4096
"""Sets of shingles that are kept for the next comparison."""


def drop_duplicates(frames: Frames, options: DropDuplicates, names: Naming) -> Kept:
    """The first of rows that are the same, over all sources, train's before all others."""
    if options.by is None and names.of_files:
        message = "files are not looked into here: name columns (what is held out has no file of train in any case)"
        raise TrainerError(DATA_INVALID, message, f"{names.field}.by")
    keys = [frame.select(names.read(frame, options.by, "by")) for frame in frames.values()]
    distinct = pl.concat(keys, how="vertical_relaxed").select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return _by_source(frames, distinct)


def drop_near_duplicates(frames: Frames, options: DropNearDuplicates, names: Naming) -> Kept:
    """The first of rows whose texts are near, over all sources, train's before all others."""
    texts = (
        pl.concat([names.joined(frame, options.by, "by") for frame in frames.values()])
        .fill_null("")
        .str.to_lowercase()
        .str.replace_all(r"\s+", " ")
        .str.strip_chars()
    )
    return _by_source(frames, pl.Series(~near_an_earlier_one(texts.to_list(), options.similarity)))


def near_an_earlier_one(texts: Sequence[str], similarity: float) -> NDArray[np.bool_]:
    """Whether each text has an earlier one that is as near as this, or nearer.

    Where many texts share a bucket, each is compared with the first of it and with the one before: a chain of near
    texts is followed link by link.
    """
    bands, width = bands_for(similarity)
    candidates: dict[int, set[int]] = {}
    for keys in band_keys(texts, bands, width):
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        first = np.where(np.concatenate([[True], ~same]), np.arange(len(order)), 0)
        first = order[np.maximum.accumulate(first)]
        for place in np.flatnonzero(same):
            candidates.setdefault(int(order[place + 1]), set()).update((int(order[place]), int(first[place + 1])))
    near = np.zeros(len(texts), dtype=np.bool_)
    known = lru_cache(_KEPT_SETS)(shingles)
    for row, earlier in candidates.items():
        mine = known(texts[row])
        near[row] = any(_jaccard(mine, known(texts[other])) >= similarity for other in earlier)
    return near


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _by_source(frames: Frames, kept: pl.Series) -> Kept:
    lengths = np.cumsum([0, *(len(frame) for frame in frames.values())])
    return {
        source: kept[int(begin) : int(end)]
        for source, begin, end in zip(frames, lengths[:-1], lengths[1:], strict=True)
    }
