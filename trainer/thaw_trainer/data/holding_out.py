"""Which rows of a table are held out, by what its columns say; and whether sources of their own keep groups apart."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import SplitSpec
from thaw_trainer.data.splitting import Rows, split_by_time, split_rows
from thaw_trainer.data.tables import text_column
from thaw_trainer.errors import DATA_INVALID, SPLIT_INVALID, TrainerError

_FIELD = "spec.data.split"


def held_out_rows(
    split: SplitSpec,
    shares: Mapping[str, float],
    table: pa.Table,
    ids: NDArray[np.int64],
    apart_by: str | None = None,
) -> dict[str, Rows]:
    """Row numbers of `train`, `validation` and `test`.

    Args:
        shares: of what is held out.
        ids: numbers of the table's rows in their source, for errors.
        apart_by: a column whose rows of one value stay together where the spec names none.

    Raises:
        TrainerError: ColumnNotFound, DataInvalid, or SplitInvalid.
    """
    validation, test = shares.get("validation", 0.0), shares.get("test", 0.0)
    if split.time_by:
        return split_by_time(_times(table, split.time_by, ids), validation, test)
    strata, groups = (
        text_column(table, column, f"{_FIELD}.{name}", ids.tolist()) if column else None
        for name, column in (("stratifyBy", split.stratify_by), ("groupBy", split.group_by or apart_by))
    )
    return split_rows(len(ids), validation, test, split.seed, strata=strata, groups=groups)


def refuse_groups_that_span(
    column: str, splits: Mapping[str, NDArray[np.int64]], sources: Mapping[str, tuple[NDArray[np.int64], pa.Table]]
) -> None:
    """Splits of one source keep groups together; sources of their own may not.

    Args:
        splits: row numbers of each split in its source.
        sources: row numbers and table of each source; a split that has none is of train's.

    Raises:
        TrainerError: SplitInvalid, or ColumnNotFound.
    """
    split_of: dict[str, str] = {}
    for name, rows in splits.items():
        ids, table = sources.get(name, sources["train"])
        values = text_column(table, column, f"{_FIELD}.groupBy", ids.tolist())
        for group in dict.fromkeys(values[place] for place in np.searchsorted(ids, rows)):
            if split_of.setdefault(group, name) != name:
                message = f"group {group!r} of column {column!r} is in {split_of[group]} and in {name}"
                raise TrainerError(SPLIT_INVALID, message, f"{_FIELD}.groupBy")


def _times(table: pa.Table, column: str, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """A column's times, in a unit of its own."""
    field = f"{_FIELD}.timeBy"
    values = text_column(table, column, field, ids.tolist())
    try:
        numbers = np.asarray([float(value) for value in values])
        if np.isfinite(numbers).all():
            return numbers
        row = ids[int(np.flatnonzero(~np.isfinite(numbers))[0])]
        raise TrainerError(DATA_INVALID, f"column {column!r}, row {row}: no finite number", field)
    except ValueError:
        return np.asarray(
            [_time(value, f"column {column!r}, row {row}", field) for value, row in zip(values, ids, strict=True)]
        )


def _time(value: str, where: str, field: str) -> float:
    """Seconds since 1970 of a date; one without a zone is of UTC."""
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        message = f"{where}: {value!r} is no time; write it as 2026-01-31 or 2026-01-31T12:00:00, or in numbers"
        raise TrainerError(DATA_INVALID, message, field) from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
