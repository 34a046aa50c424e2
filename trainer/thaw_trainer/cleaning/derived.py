"""Columns that `data.features` makes of others, row by row: texts by a template, values by an expression."""

from collections.abc import Mapping
from string import Formatter
from typing import Any

import polars as pl

from thaw_api.data import DataSpec
from thaw_api.steps import COLUMN_FEATURES, Derive, Template
from thaw_trainer.cleaning.condition import RowExpression
from thaw_trainer.cleaning.values import as_text_series
from thaw_trainer.data.rows import Rows
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError

_FIELD = "spec.data.features"


def derive_columns(data: DataSpec, sources: Mapping[str, Rows]) -> dict[str, Rows]:
    """The rows of each source with the new columns, in the order of the steps: a later one may read an earlier one's.

    Raises:
        TrainerError: ColumnNotFound, or DataInvalid, of the step's field.
    """
    found = dict(sources)
    for number, step in enumerate(data.features or ()):
        for name, written in step.items():
            if name in COLUMN_FEATURES:
                options = COLUMN_FEATURES[name].model_validate(written)
                field = f"{_FIELD}[{number}].{name}"
                found = {source: _with_column(rows, options, field) for source, rows in found.items()}
    return found


def _with_column(rows: Rows, options: Any, field: str) -> Rows:
    names = rows.table.column_names
    frame = pl.DataFrame({name: rows.table[name] for name in dict.fromkeys(names)})
    match options:
        case Template():
            values = _filled(frame, options.text, f"{field}.text")
        case Derive():
            values = RowExpression(options.expression, f"{field}.expression").values(frame)
            if values.dtype.is_nested():
                message = f"{options.expression!r} gives {values.dtype}: a column holds single values"
                raise TrainerError(DATA_INVALID, message, f"{field}.expression")
    return rows.replacing(options.column, options.column, values.to_arrow())


def _filled(frame: pl.DataFrame, template: str, field: str) -> pl.Series:
    """The template's text for each row; missing where a column that it names is."""
    parts: list[pl.Expr] = []
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            parts.append(pl.lit(literal))
        if name is None:
            continue
        if name not in frame.columns:
            message = f"the data has no column {name!r}; it has {', '.join(frame.columns)}"
            raise TrainerError(COLUMN_NOT_FOUND, message, field)
        frame = frame.with_columns(as_text_series(frame[name]))
        parts.append(pl.col(name))
    return frame.select(pl.concat_str(parts).alias("text")).to_series()
