"""Sounds of a store as batches."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.sounds import UNITS_PER_SECOND, units
from thaw_trainer.data.store import ragged
from thaw_trainer.models.sound_settings import SoundSettings


@dataclass(frozen=True)
class SoundBatch:
    """`values` (-1 to 1, or normalized) and `mask` (1: of the sound) [rows, samples]; `samples` (of each sound), `id`
    and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    values: NDArray[np.float32]
    mask: NDArray[np.int64]
    samples: NDArray[np.int64]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class SoundRows:
    """The sounds of one split, mapped from the store."""

    def __init__(self, table: pa.Table, split: str, settings: SoundSettings) -> None:
        self.split, self.settings = split, settings
        self.values, self.offsets = ragged(table["samples"])
        self.id = table["id"].to_numpy()
        self.lengths = units(np.diff(self.offsets).astype(np.int64), settings.rate)
        """Of each row, in tenths of a second."""

    def collate(self, plan: BatchPlan) -> SoundBatch:
        """The batch that a plan describes, padded to its width."""
        longest = plan.width * self.settings.rate // UNITS_PER_SECOND
        values = np.zeros((len(plan.rows), longest), dtype=np.float32)
        samples = np.diff(self.offsets)[plan.rows].astype(np.int64)
        for place, row in enumerate(plan.rows):
            own = self.values[self.offsets[row] : self.offsets[row + 1]].astype(np.float32) / 32768.0
            if self.settings.normalize:
                own = (own - own.mean()) / np.sqrt(own.var() + 1e-7)
            values[place, : len(own)] = own
        mask = (np.arange(longest)[None, :] < samples[:, None]).astype(np.int64)
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        return SoundBatch(self.split, plan, values, mask, samples, self.id[plan.rows], weight)
