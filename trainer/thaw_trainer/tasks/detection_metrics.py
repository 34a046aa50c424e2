"""Average precision as COCO measures it (https://cocodataset.org/#detection-eval), by COCO's own package."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_FOUND = 100
"""Boxes of an image that are looked at, those of the highest scores."""
_AT_50, _AT_75 = 0, 5
"""Places of an overlap of 0.5 and 0.75 among the ten from 0.5 to 0.95."""


@dataclass(frozen=True)
class Truth:
    """What is in an image: `boxes` [boxes, 4] as left, top, right, bottom; `category` and `crowd` [boxes]."""

    boxes: NDArray[np.float32]
    category: NDArray[np.int64]
    crowd: NDArray[np.uint8]


@dataclass(frozen=True)
class Found:
    """What a model has found in an image: `boxes` [found, 4] as left, top, right, bottom; `category` and `score`
    [found]."""

    boxes: NDArray[np.float32]
    category: NDArray[np.int64]
    score: NDArray[np.float32]


def average_precision(truth: Sequence[Truth], found: Sequence[Found], classes: int) -> NDArray[np.float64]:
    """Average precision [overlaps 0.5, 0.55 … 0.95, classes] over images; NaN for a class that none of them has.

    An overlap is the same in shares of an image's sides as in pixels, and so is what this gives.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes = [
        {"image_id": image, "category_id": int(each.category[place]), "iscrowd": int(each.crowd[place])}
        | {"bbox": _sides(each.boxes[place : place + 1])[0].tolist(), "area": 1.0}
        for image, each in enumerate(truth)
        for place in range(len(each.category))
    ]
    rows = [
        np.column_stack([np.full(len(each.score), image), _sides(each.boxes), each.score, each.category])
        for image, each in enumerate(found)
    ]
    told = COCO()
    told.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(len(truth))],
        "annotations": [each | {"id": number} for number, each in enumerate(boxes, start=1)],
        "categories": [{"id": category} for category in range(classes)],
    }
    with redirect_stdout(io.StringIO()):
        told.createIndex()
        evaluation = COCOeval(told, told.loadRes(np.concatenate(rows).astype(np.float64)), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [_MOST_FOUND]
        evaluation.evaluate()
        evaluation.accumulate()
    # Precision is [overlaps, recalls, classes, areas, most found], -1 for a class without boxes.
    precision = evaluation.eval["precision"][..., 0, 0].mean(axis=1)
    return np.where(precision < 0, np.nan, precision)


def detection_metrics(truth: Sequence[Truth], found: Sequence[Found], classes: int) -> dict[str, float]:
    """`map`: the mean over classes and overlaps; `map50` and `map75`: at one overlap. NaN where there is no box."""
    precision = average_precision(truth, found, classes)
    if np.isnan(precision).all():
        return dict.fromkeys(("map", "map50", "map75"), float("nan"))
    return {
        "map": float(np.nanmean(precision)),
        "map50": float(np.nanmean(precision[_AT_50])),
        "map75": float(np.nanmean(precision[_AT_75])),
    }


def _sides(corners: NDArray[np.float32]) -> NDArray[np.float64]:
    """Left, top, width and height of boxes [boxes, 4]."""
    exact = corners.astype(np.float64)
    return np.column_stack([exact[:, :2], exact[:, 2:] - exact[:, :2]])
