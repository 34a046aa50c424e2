"""Sounds as spectra of a fixed number of frames, kept without the silence that fills them up."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_trainer.data.store import ragged


def spectra_of(samples: Sequence[NDArray[np.int16]], extractor: Any) -> list[NDArray[np.float32]]:
    """What transformers' feature extractor makes of each sound, flat: frame after frame, each [bins].

    A short sound is filled up with silence, whose frames are all alike: of those at its end one is kept.
    """

    def spectrum(sound: NDArray[np.int16]) -> NDArray[np.float32]:
        wave = sound.astype(np.float32) / 32768.0
        found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")["input_features"][0]
        differ = np.flatnonzero((found != found[:, -1:]).any(axis=0))
        frames = int(differ[-1]) + 2 if len(differ) else 1
        return np.asarray(found[:, :frames].T, dtype=np.float32).ravel()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(spectrum, samples))


class Spectra:
    """The spectra of one split, mapped from the store."""

    def __init__(self, column: pa.ChunkedArray, bins: int, frames: int) -> None:
        """`frames`: of a whole one."""
        self._values, self._offsets = ragged(column)
        self._bins, self._frames = bins, frames

    def batch(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those of some rows, whole: [rows, bins, frames]."""
        found = np.empty((len(rows), self._bins, self._frames), dtype=np.float32)
        for place, row in enumerate(rows):
            own = self._values[self._offsets[row] : self._offsets[row + 1]].reshape(-1, self._bins).T
            found[place, :, : own.shape[1]] = own
            found[place, :, own.shape[1] :] = own[:, -1:]
        return found
