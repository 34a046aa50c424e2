"""Steps about values: missing ones, conditions over columns, other names for them."""

import polars as pl
import pyarrow as pa

from thaw_api.cleaning import DropMissing, Filter, MapValues
from thaw_trainer.cleaning.condition import Condition
from thaw_trainer.cleaning.frames import Frames, Kept, Naming
from thaw_trainer.data.tables import as_text
from thaw_trainer.errors import DATA_INVALID, TrainerError


def drop_missing(frames: Frames, options: DropMissing, names: Naming) -> Kept:
    """Rows that have a value in every column; text that is nothing but white space is none."""
    kept = {}
    for source, frame in frames.items():
        columns = names.read(frame, options.columns)
        there = [
            (pl.col(name).str.strip_chars() != "").fill_null(False)
            if frame.schema[name] == pl.String
            else pl.col(name).is_not_null()
            for name in columns
        ]
        kept[source] = frame.select(pl.all_horizontal(there)).to_series()
    return kept


def keep_where(frames: Frames, options: Filter, names: Naming) -> Kept:
    """Rows for which a condition in SQL holds."""
    condition = Condition(options.where, f"{names.field}.where")
    return {source: condition.holds(frame) for source, frame in frames.items()}


def map_values(frame: pl.DataFrame, options: MapValues, names: Naming) -> list[pl.Series]:
    """Other values in one column, which is text afterwards.

    Raises:
        TrainerError: ColumnNotFound, or DataInvalid: the column holds no scalars.
    """
    (name,) = names.named(frame, [options.column], "column")
    if frame.schema[name].is_nested() or frame.schema[name] == pl.Binary:
        message = f"column {name!r} holds {frame.schema[name]}, not single values"
        raise TrainerError(DATA_INVALID, message, f"{names.field}.column")
    return [as_text_series(frame[name]).replace(options.values)]


def as_text_series(values: pl.Series) -> pl.Series:
    """Single values as text, written as labels are read: a number without a fraction has no point."""
    if values.dtype == pl.String:
        return values
    return pl.Series(values.name, as_text(pa.chunked_array([values.to_arrow()]), values.name, ""), dtype=pl.String)
