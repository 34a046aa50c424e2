"""Parts of the test rows, each measured by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.cluster import SliceSpec
from thaw_trainer.cleaning.condition import Condition
from thaw_trainer.data.examples import ROW
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.evaluation.intervals import rows_of
from thaw_trainer.tasks.protocol import Predictions


def slice_rows(slices: Sequence[SliceSpec], test_rows: pa.Table) -> dict[str, NDArray[np.int64]]:
    """The ids of each slice's rows.

    Args:
        test_rows: a store's table of the test rows' columns.

    Raises:
        TrainerError: a condition is none, names no column or holds for no test row; of its field.
    """
    frame = pl.from_arrow(test_rows)
    assert isinstance(frame, pl.DataFrame)
    ids = frame[ROW].to_numpy()
    found = {}
    for number, each in enumerate(slices):
        field = f"spec.evaluation.slices[{number}].where"
        rows = ids[Condition(each.where, field).holds(frame.drop(ROW)).to_numpy()]
        if not len(rows):
            raise TrainerError(DATA_INVALID, f"slice {each.name!r} has none of the {len(ids)} test rows", field)
        found[each.name] = rows
    return found


def measure_slices(
    rows: Mapping[str, NDArray[np.int64]],
    predictions: Predictions,
    metrics: Callable[[Predictions], Mapping[str, float]],
) -> list[dict[str, Any]]:
    """`name`, number of `rows` and `metrics` of each slice; no metrics of one whose rows the task left out."""
    told = []
    for name, ids in rows.items():
        inside = np.flatnonzero(np.isin(predictions["id"], ids))
        count = len(np.unique(predictions["id"][inside]))
        measured = dict(metrics(rows_of(predictions, inside))) if count else {}
        told.append({"name": name, "rows": count, "metrics": measured})
    return told
