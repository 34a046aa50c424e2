"""Images with boxes to a prepared store: read, split by image, duplicates of train taken out of what is held out, each
image decoded and scaled once. Boxes are shares of an image's sides, so that they are those of the scaled one too."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_trainer.data.coco import COCO
from thaw_trainer.data.examples import SPLITS, Examples, read_splits
from thaw_trainer.data.images import write_all_pixels
from thaw_trainer.data.store import Made, digest
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.models.image_files import ImageSettings


def make_object_store(folder: Path, data: DataSpec, paths: dict[str, Path], settings: ImageSettings) -> Made:
    """Facts and tables of a store of images with boxes, whose pixels are written into `folder`.

    Raises:
        TrainerError: whatever is wrong with the sources, or DataInvalid for a split without boxes.
    """
    read = read_splits(data, paths, COCO)
    write_all_pixels(folder, read, settings)
    splits, counts = read.splits, read.counts
    labels = _labels(splits, held_out=[name for name in SPLITS[1:] if name not in paths])
    boxes = {name: Counter(_counted(rows)) for name, rows in splits.items()}
    for name in SPLITS:
        if not boxes[name]:
            field = f"spec.data.{name}" if name in paths else f"spec.data.split.{name}"
            raise TrainerError(DATA_INVALID, f"none of the {len(splits[name])} images of {name} has a box", field)
        counts[f"boxes{name.capitalize()}"] = boxes[name].total()
    counts["imagesWithoutBoxes"] = sum(not any(each) for rows in splits.values() for each in rows.columns["category"])
    crowds = sum(sum(each) for rows in splits.values() for each in rows.columns["crowd"])
    unseen = sum(not boxes["train"][label] for label in labels)
    counts |= {name: count for name, count in (("boxesOfCrowds", crowds), ("labelsNotInTrain", unseen)) if count}
    facts = {"labels": labels, "fingerprint": digest(_content(splits))}
    return read.made(facts, {name: _table(rows, labels) for name, rows in splits.items()})


def _counted(rows: Examples) -> list[str]:
    """The category of each box that is one object's."""
    return [
        name
        for names, crowds in zip(rows.columns["category"], rows.columns["crowd"], strict=True)
        for name, crowd in zip(names, crowds, strict=True)
        if not crowd
    ]


def _labels(splits: dict[str, Examples], held_out: list[str]) -> list[str]:
    """The categories that the training source has boxes of, sorted.

    What was held out of it counts too: which categories there are is written down, not learned, and no split could be
    stratified by the several of an image.

    Args:
        held_out: splits that are parts of the training source.

    Raises:
        TrainerError: DataInvalid: a source of its own has boxes of another category.
    """
    labels = sorted({name for split in ("train", *held_out) for name in _counted(splits[split])})
    for split in SPLITS[1:]:
        unknown = sorted(set(_counted(splits[split])) - set(labels))
        if unknown and split not in held_out:
            message = f"{split} has boxes of categories that train has none of: {', '.join(unknown[:5])}"
            raise TrainerError(DATA_INVALID, message, f"spec.data.{split}")
    return labels


def _content(splits: dict[str, Examples]) -> dict[str, Any]:
    return {
        name: (
            rows.columns["content"],
            [each.tolist() for each in rows.columns["boxes"]],
            rows.columns["category"],
            rows.columns["crowd"],
            rows.ids.tolist(),
        )
        for name, rows in splits.items()
    }


def _table(rows: Examples, labels: list[str]) -> pa.Table:
    """Columns id, and lists of `boxes` (four numbers each), `category` and `crowd`."""
    number = {label: index for index, label in enumerate(labels)}
    known = [
        # A crowd of a category that no single box is of can be neither found nor missed.
        [place for place, name in enumerate(names) if name in number]
        for names in rows.columns["category"]
    ]
    boxes = [each[places].ravel() for each, places in zip(rows.columns["boxes"], known, strict=True)]
    category = [
        [number[names[place]] for place in places]
        for names, places in zip(rows.columns["category"], known, strict=True)
    ]
    crowd = [
        [int(crowds[place]) for place in places] for crowds, places in zip(rows.columns["crowd"], known, strict=True)
    ]
    return pa.table(
        {
            "id": pa.array(rows.ids, pa.int64()),
            "boxes": pa.array([each.astype(np.float32) for each in boxes], pa.list_(pa.float32())),
            "category": pa.array(category, pa.list_(pa.int64())),
            "crowd": pa.array(crowd, pa.list_(pa.uint8())),
        }
    )
