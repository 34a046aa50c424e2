"""Sounds with what is said in them, as a model is to be taught them: plain texts, and nothing that is too long."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_api.steps import SPEECH_FEATURES, read_steps
from thaw_trainer.data.examples import Examples, read_splits
from thaw_trainer.data.sounds import decoded, reader
from thaw_trainer.errors import DATA_INVALID, TrainerError

_FEATURES = "spec.data.features"


def read_transcripts(data: DataSpec, paths: dict[str, Path]) -> tuple[dict[str, Examples], dict[str, int]]:
    """The splits' examples, columns `audio`, `text` (words with single spaces between them) and `content`; and counts.

    Raises:
        TrainerError: whatever is wrong with the sources or the split, or an empty text.
    """
    splits, counts = read_splits(data, paths, reader("text", from_folders=False), identity="content")
    plain = {name: Examples({**rows.columns, "text": _plain(rows)}, rows.ids) for name, rows in splits.items()}
    return plain, counts


def sounds_that_fit(
    data: DataSpec, name: str, rows: Examples, rate: int, counts: dict[str, int], most: float | None = None
) -> tuple[Examples, list[NDArray[np.int16]]]:
    """A split's rows, and their samples at a rate in Hz, without those that are too long, which `counts` is told of.

    Args:
        name: the split's.
        most: seconds that the model reads; None: as many as there are. `features` may say less.

    Raises:
        TrainerError: a sound cannot be read, or all of them are too long.
    """
    limits = [
        step.max_seconds for step_name, step in read_steps(data.features, SPEECH_FEATURES) if step_name == "duration"
    ]
    limit = min([*limits, *([] if most is None else [most])], default=float("inf"))
    samples = decoded(rows, rate)
    fits = [len(each) <= limit * rate for each in samples]
    kept = rows_that_fit(name, rows, fits, f"{limit:g} s", _FEATURES)
    counts[f"tooLong{name.capitalize()}"], counts[name] = len(rows) - len(kept), len(kept)
    return kept, list(compress(samples, fits))


def rows_that_fit(name: str, rows: Examples, fits: Sequence[bool], limit: str, field: str) -> Examples:
    """The rows of a split for which `fits` says yes.

    Args:
        name: the split's.
        limit: what the others are longer than, for people.

    Raises:
        TrainerError: DataInvalid, at `field`, when there is none.
    """
    if not any(fits):
        raise TrainerError(DATA_INVALID, f"every row of {name} is longer than {limit}", field)
    return rows.take(np.flatnonzero(fits))


def _plain(rows: Examples) -> list[str]:
    """The texts with single spaces."""
    texts = [" ".join(text.split()) for text in rows.columns["text"]]
    if not all(texts):
        raise TrainerError(DATA_INVALID, f"row {rows.ids[texts.index('')]} has an empty text", "spec.data.columns.text")
    return texts
