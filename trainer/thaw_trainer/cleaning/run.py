"""The steps of `data.clean`, one after the other over the rows of all sources, each counted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from thaw_api.cleaning import CLEANING
from thaw_api.data import DataSpec
from thaw_api.steps import read_steps
from thaw_trainer.cleaning.condition import first_line
from thaw_trainer.cleaning.duplicates import drop_duplicates, drop_near_duplicates
from thaw_trainer.cleaning.frames import Change, Drop, Frames, Naming
from thaw_trainer.cleaning.texts import keep_languages, keep_lengths, normalize, strip_html
from thaw_trainer.cleaning.values import as_text_series, drop_missing, keep_where, map_values
from thaw_trainer.data.rows import Rows
from thaw_trainer.errors import DATA_INVALID, TrainerError

_FIELD = "spec.data.clean"
_DROPS: dict[str, Drop] = {
    "dropMissing": drop_missing,
    "dropDuplicates": drop_duplicates,
    "dropNearDuplicates": drop_near_duplicates,
    "textLength": keep_lengths,
    "filter": keep_where,
    "language": keep_languages,
}
_CHANGES: dict[str, Change] = {"normalize": normalize, "stripHtml": strip_html, "mapValues": map_values}


def clean_sources(
    data: DataSpec,
    sources: Mapping[str, Rows],
    roles: Sequence[str],
    texts: Sequence[str],
    of_files: bool = False,
) -> tuple[dict[str, Rows], list[dict[str, Any]]]:
    """The rows that are left of each source; and for each `step`, how many rows it `dropped` and `changed`, and how
    many `rows` there are after it.

    Args:
        roles: every role that the task reads.
        texts: those of them that are text.
        of_files: whether a row may name a file.

    Raises:
        TrainerError: a step names what the data does not have, or leaves a source without rows; of the step's field.
    """
    # Steps that compare rows keep the first one: that of train.
    frames = {name: _frame(sources[name]) for name in sorted(sources, key=lambda name: name != "train")}
    ids = {name: rows.ids for name, rows in sources.items()}
    told = []
    for number, (step, options) in enumerate(read_steps(data.clean, CLEANING)):
        naming = Naming(f"{_FIELD}[{number}].{step}", data.columns, roles, texts, of_files)
        before, changed = _count(frames), 0
        if step in _DROPS:
            with _of_the_step(naming.field):
                kept = _DROPS[step](frames, options, naming)
            for name, stays in kept.items():
                if not stays.any():
                    message = f"leaves none of the {len(stays)} rows of data.{name}"
                    raise TrainerError(DATA_INVALID, message, naming.field)
            frames = {name: frame.filter(kept[name]) for name, frame in frames.items()}
            ids = {name: ids[name][kept[name].to_numpy()] for name in frames}
        else:
            for name, frame in frames.items():
                with _of_the_step(naming.field):
                    columns = _CHANGES[step](frame, options, naming)
                changed += _changed_rows(frame, columns)
                frames[name] = frame.with_columns(columns)
        told.append({"step": step, "dropped": before - _count(frames), "changed": changed, "rows": _count(frames)})
    return {name: Rows(frames[name].to_arrow(), ids[name], sources[name].bad) for name in sources}, told


@contextmanager
def _of_the_step(field: str) -> Iterator[None]:
    """What polars cannot do with the data is the step's error."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise TrainerError(DATA_INVALID, first_line(error), field) from error


def _frame(rows: Rows) -> pl.DataFrame:
    names = rows.table.column_names
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise TrainerError(DATA_INVALID, f"the data has several columns {repeated!r}: keep one", _FIELD)
    frame = pl.from_arrow(rows.table)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _count(frames: Frames) -> int:
    return sum(len(frame) for frame in frames.values())


def _changed_rows(frame: pl.DataFrame, columns: Sequence[pl.Series]) -> int:
    """How many rows have another value in one of the columns."""
    changed = pl.repeat(False, len(frame), dtype=pl.Boolean, eager=True)
    for column in columns:
        changed |= as_text_series(frame[column.name]).ne_missing(column)
    return int(changed.sum())
