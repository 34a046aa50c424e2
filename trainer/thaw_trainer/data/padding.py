"""Ragged rows of a store as rectangles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.data.batches import BatchPlan


def padded(
    values: NDArray[Any], offsets: NDArray[np.int32], plan: BatchPlan, fill: int, left: bool = False
) -> NDArray[np.int64]:
    """The rows of a plan as [rows, width], what is left of each filled up.

    Args:
        values, offsets: a ragged column, see `store.ragged`.
        left: whether the filling comes first.
    """
    rectangle = np.full((len(plan.rows), plan.width), fill, dtype=np.int64)
    for place, row in enumerate(plan.rows):
        own = values[offsets[row] : offsets[row + 1]]
        span = slice(plan.width - len(own), None) if left else slice(0, len(own))
        rectangle[place, span] = own
    return rectangle


def filled_places(lengths: NDArray[np.int32], plan: BatchPlan, left: bool = False) -> NDArray[np.int64]:
    """1 where `padded` has a row's own values, 0 where it filled up: [rows, width]."""
    places = np.arange(plan.width)[::-1] if left else np.arange(plan.width)
    return (places[None, :] < lengths[plan.rows][:, None]).astype(np.int64)
