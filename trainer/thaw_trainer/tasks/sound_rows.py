"""Sounds as a store, and as its batches."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.examples import source_paths
from thaw_trainer.data.sounds import UNITS_PER_SECOND, source_digest, units
from thaw_trainer.data.store import Made, digest, file_digest, open_or_write, ragged
from thaw_trainer.models import pretrained
from thaw_trainer.models.sound_settings import SoundSettings, sound_settings
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.uris import resolve_model

_LAYOUT = 1
"""Version of what is written; part of the store's key."""


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

    def inputs(self, settings: SoundSettings, dtype: torch.dtype, device: torch.device) -> dict[str, torch.Tensor]:
        """What a model is called with."""
        inputs = {"input_values": torch.from_numpy(self.values).to(device, dtype)}
        if settings.mask:
            inputs["attention_mask"] = torch.from_numpy(self.mask).to(device)
        return inputs


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


def prepare_sounds(
    spec: FineTuneJobSpec,
    files: JobFiles,
    folder_role: str | None,
    make: Callable[[DataSpec, dict[str, Path], int], Made],
) -> Path:
    """The store of a spec's sounds, made if it is not there yet.

    Args:
        folder_role: the role that the names of folders have in an audiofolder without a table; None: it needs one.
        make: given the sources and the model's rate; returns facts and tables.
    """
    folder = resolve_model(spec.model.uri, pretrained.URI_FIELD, files.roots)
    settings = sound_settings(folder)
    paths = source_paths(spec.data, files.roots)
    key = digest(
        _LAYOUT,
        spec.task,
        spec.data.manifest(),
        asdict(settings),
        {
            name: source_digest(spec.data, getattr(spec.data, name), path, f"spec.data.{name}", folder_role)
            for name, path in paths.items()
        },
        {path.name: file_digest(path) for path in pretrained.model_files(folder)},
    )
    store = open_or_write(files.stores, key, lambda _: make(spec.data, paths, settings.rate), files.kept)
    return store.with_fact("sound", asdict(settings)).with_fact("modelFolder", str(folder)).folder
