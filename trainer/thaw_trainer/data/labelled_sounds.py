"""Labelled sounds to a prepared store; the labels are fitted on train."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_api.steps import SOUND_CUTS, read_steps
from thaw_trainer.data.examples import class_counts, fit_labels, read_splits
from thaw_trainer.data.sounds import decoded, fit_classes, reader, units
from thaw_trainer.data.store import Made, digest


def make_store(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
    """Facts and tables of a store: `samples` (16 bits, cut to the longest duration) and `label`."""
    read = read_splits(data, paths, reader("label", from_folders=True))
    sounds = {name: decoded(read, name, rate) for name in list(read.splits)}
    labels, splits = fit_labels(read.splits), read.splits
    number = {label: index for index, label in enumerate(labels)}
    longest = min((step.max_seconds for _, step in read_steps(data.features, SOUND_CUTS)), default=None)
    tables, lengths = {}, {}
    for name, rows in splits.items():
        samples = sounds[name]
        if longest is not None:
            samples = [each[: int(longest * rate)] for each in samples]
        tables[name] = pa.table(
            {
                "id": pa.array(rows.ids, pa.int64()),
                "samples": pa.array(samples, pa.large_list(pa.int16())),
                "label": pa.array([number[label] for label in rows.columns["label"]], pa.int64()),
            }
        )
        lengths[name] = units(np.asarray([len(each) for each in samples], dtype=np.int64), rate)
    content = {
        name: (rows.columns["content"], rows.columns["label"], rows.ids.tolist()) for name, rows in splits.items()
    }
    facts = {
        "labels": labels,
        "fingerprint": digest(content),
        "widths": fit_classes(lengths),
        "classes": class_counts(splits, labels),
    }
    return read.made(facts, tables)
