"""Steps about values: missing ones, conditions over columns, other names for them."""

import polars as pl

from thaw_api.cleaning import DropMissing, Filter, MapValues
from thaw_trainer.cleaning.frames import Frames, Kept, Naming
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError

_SHOWN = 5


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
    """Rows for which a condition in SQL holds. It is read by polars, which runs it as an expression over columns: it
    reaches no other table and no file."""
    field = f"{names.field}.where"
    try:
        condition = pl.sql_expr(options.where)
    except pl.exceptions.PolarsError as error:
        raise TrainerError(DATA_INVALID, f"{options.where!r} is no condition: {_first_line(error)}", field) from error
    kept = {}
    for source, frame in frames.items():
        unknown = sorted(set(condition.meta.root_names()) - set(frame.columns))
        if unknown:
            message = f"the data has no column {unknown[0]!r}; it has {', '.join(frame.columns)}"
            raise TrainerError(COLUMN_NOT_FOUND, message, field)
        try:
            holds = frame.select(condition.alias("holds")).to_series()
        except pl.exceptions.PolarsError as error:
            raise TrainerError(DATA_INVALID, f"{options.where!r}: {_first_line(error)}", field) from error
        if holds.dtype != pl.Boolean or len(holds) != len(frame):
            message = f"{options.where!r} gives {holds.dtype}, not whether a row stays"
            raise TrainerError(DATA_INVALID, message, field)
        kept[source] = holds.fill_null(False)
    return kept


def map_values(frame: pl.DataFrame, options: MapValues, names: Naming) -> list[pl.Series]:
    """Other values in one column, which is text afterwards.

    Raises:
        TrainerError: ColumnNotFound, or DataInvalid: the column holds no scalars.
    """
    (name,) = names.named(frame, [options.column], "column")
    if frame.schema[name].is_nested() or frame.schema[name] == pl.Binary:
        message = f"column {name!r} holds {frame.schema[name]}, not single values"
        raise TrainerError(DATA_INVALID, message, f"{names.field}.column")
    return [frame[name].cast(pl.String).replace(options.values)]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
