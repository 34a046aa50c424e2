"""Sounds as spectra of a fixed number of frames, kept without the silence that fills them up."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_trainer.data.store import ragged
from thaw_trainer.errors import DATA_INVALID, TrainerError


def spectra_of(
    ids: NDArray[np.int64], samples: Sequence[NDArray[np.int16]], extractor: Any, by_frame: bool = False
) -> list[NDArray[np.float32]]:
    """What transformers' feature extractor makes of each sound, flat: frame after frame, each [bins].

    A short sound is filled up with silence, whose frames are all alike: of those at its end one is kept.

    Args:
        ids: which row each sound is.
        by_frame: whether the extractor gives [frames, bins], not [bins, frames].

    Raises:
        TrainerError: DataInvalid: a sound is too short for a frame.
    """
    name = extractor.model_input_names[0]

    def spectrum(row: int, sound: NDArray[np.int16]) -> NDArray[np.float32]:
        wave = sound.astype(np.float32) / 32768.0
        try:
            found = extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="np")[name][0]
        except ValueError as error:
            message = f"the sound of row {row} has {len(sound)} samples, too few for a spectrum: {error}"
            raise TrainerError(DATA_INVALID, message, "spec.data") from error
        frames = found if by_frame else found.T
        differ = np.flatnonzero((frames != frames[-1:]).any(axis=1))
        kept = frames[: int(differ[-1]) + 2] if len(differ) else frames[:1]
        return np.asarray(kept, dtype=np.float32).ravel()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(spectrum, ids.tolist(), samples))


class Spectra:
    """The spectra of one split, mapped from the store."""

    def __init__(self, column: pa.ChunkedArray, bins: int, frames: int, by_frame: bool = False) -> None:
        """`frames`: of a whole one; `by_frame`: see `batch`."""
        self._values, self._offsets = ragged(column)
        self._bins, self._frames, self._by_frame = bins, frames, by_frame

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def batch(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those of some rows, whole: [rows, bins, frames], or [rows, frames, bins] by frame."""
        found = np.empty((len(rows), self._frames, self._bins), dtype=np.float32)
        for place, row in enumerate(rows):
            own = self._values[self._offsets[row] : self._offsets[row + 1]].reshape(-1, self._bins)
            found[place, : len(own)] = own
            found[place, len(own) :] = own[-1]
        return found if self._by_frame else np.ascontiguousarray(found.swapaxes(1, 2))
