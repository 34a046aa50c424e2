"""Labelled sounds to a prepared store, as samples or as spectra; the labels are fitted on train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_api.steps import SOUND_CUTS, read_steps
from thaw_trainer.data.examples import class_counts, fingerprint, fit_labels, read_splits
from thaw_trainer.data.sounds import decoded, fit_classes, reader, units
from thaw_trainer.data.spectra import spectra_of
from thaw_trainer.data.store import Made


def make_store(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
    """Facts and tables of a store: `samples` (16 bits, cut to the longest duration) and `label`."""
    lengths: dict[str, NDArray[np.int32]] = {}

    def samples_of(name: str, ids: NDArray[np.int64], samples: list[NDArray[np.int16]]) -> tuple[str, pa.Array]:
        lengths[name] = units(np.asarray([len(each) for each in samples], dtype=np.int64), rate)
        return "samples", pa.array(samples, pa.large_list(pa.int16()))

    facts, tables = _make(data, paths, rate, samples_of)
    return facts | {"widths": fit_classes(lengths)}, tables


def make_spectra_store(data: DataSpec, paths: dict[str, Path], extractor: Any) -> Made:
    """Facts and tables of a store: `spectrum` (see `spectra_of`) and `label`."""

    def spectrum_of(name: str, ids: NDArray[np.int64], samples: list[NDArray[np.int16]]) -> tuple[str, pa.Array]:
        return "spectrum", pa.array(spectra_of(ids, samples, extractor, by_frame=True), pa.large_list(pa.float32()))

    facts, tables = _make(data, paths, extractor.sampling_rate, spectrum_of)
    return facts | {"bins": extractor.num_mel_bins, "frames": extractor.max_length}, tables


def _make(
    data: DataSpec,
    paths: dict[str, Path],
    rate: int,
    made_of: Callable[[str, NDArray[np.int64], list[NDArray[np.int16]]], tuple[str, pa.Array]],
) -> Made:
    """Facts and tables, whatever a sound is kept as.

    Args:
        made_of: from a split's name, its rows' ids and samples, the name and values of a column.
    """
    read = read_splits(data, paths, reader("label", from_folders=True))
    sounds = {name: decoded(read, name, rate) for name in list(read.splits)}
    labels, splits = fit_labels(read.splits), read.splits
    number = {label: index for index, label in enumerate(labels)}
    longest = min((step.max_seconds for _, step in read_steps(data.features, SOUND_CUTS)), default=None)
    tables = {}
    for name, rows in splits.items():
        samples = sounds.pop(name)
        if longest is not None:
            samples = [each[: int(longest * rate)] for each in samples]
        column, values = made_of(name, rows.ids, samples)
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                column: values,
                "label": pa.array([number[label] for label in rows.columns["label"]], pa.int64()),
            }
        )
    facts = {
        "labels": labels,
        "fingerprint": fingerprint(splits, ("content", "label")),
        "classes": class_counts(splits, labels),
    }
    return read.made(facts, tables)
