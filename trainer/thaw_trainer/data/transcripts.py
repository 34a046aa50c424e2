"""Sounds with what is said in them, as a model is to be taught them: plain texts, and nothing that is too long."""

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_api.steps import SPEECH_FEATURES, read_steps
from thaw_trainer.data.examples import SplitExamples, read_splits
from thaw_trainer.data.sounds import decoded, reader
from thaw_trainer.errors import DATA_INVALID, TrainerError

_FEATURES = "spec.data.features"


def read_transcripts(data: DataSpec, paths: dict[str, Path]) -> SplitExamples:
    """The splits' examples, columns `audio`, `text` (words with single spaces between them) and `content`.

    Raises:
        TrainerError: whatever is wrong with the sources or the split.
    """
    return read_splits(data, paths, reader("text", from_folders=False))


def sounds_that_fit(
    data: DataSpec, read: SplitExamples, name: str, rate: int, most: float | None = None
) -> list[NDArray[np.int16]]:
    """The samples of a split's rows at a rate in Hz. Rows that cannot be heard or are too long leave it, and are
    counted.

    Args:
        name: the split's.
        most: seconds that the model reads; None: as many as there are. `features` may say less.

    Raises:
        TrainerError: too many sounds cannot be read, or all of them are too long.
    """
    limits = [
        step.max_seconds for step_name, step in read_steps(data.features, SPEECH_FEATURES) if step_name == "duration"
    ]
    limit = min([*limits, *([] if most is None else [most])], default=float("inf"))
    samples = decoded(read, name, rate)
    fits = [len(each) <= limit * rate for each in samples]
    read.counts[f"tooLong{name.capitalize()}"] = keep_those_that_fit(read, name, fits, f"{limit:g} s", _FEATURES)
    return list(compress(samples, fits))


def keep_those_that_fit(read: SplitExamples, name: str, fits: Sequence[bool], limit: str, field: str) -> int:
    """Takes the rows of a split out for which `fits` says no; returns how many.

    Args:
        name: the split's.
        limit: what they are longer than, for people.

    Raises:
        TrainerError: DataInvalid, at `field`, when none is left.
    """
    if not any(fits):
        raise TrainerError(DATA_INVALID, f"every row of {name} is longer than {limit}", field)
    read.keep(name, np.flatnonzero(fits))
    return len(fits) - sum(fits)
