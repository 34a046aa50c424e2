"""The rows of a job's sources as steps see them, and the columns that a step is about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import polars as pl

from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError

Frames: TypeAlias = Mapping[str, pl.DataFrame]
"""The rows of each source, `train` first."""


@dataclass(frozen=True)
class Naming:
    """How the columns of one step are named.

    Args:
        field: path of the step.
        columns: the column of each role that the manifest names.
        roles: every role that the task reads.
        texts: those of them that are text.
        of_files: whether a row may name a file.
    """

    field: str
    columns: Mapping[str, str]
    roles: Sequence[str]
    texts: Sequence[str]
    of_files: bool = False

    def named(self, frame: pl.DataFrame, names: Sequence[str], option: str) -> list[str]:
        """The columns that an option names, or the roles of which it does.

        Raises:
            TrainerError: ColumnNotFound.
        """
        found = {name: name if name in frame.columns else self.columns.get(name, name) for name in names}
        for name, column in found.items():
            if column not in frame.columns:
                message = f"the data has no column {name!r}; it has {', '.join(frame.columns)}"
                raise TrainerError(COLUMN_NOT_FOUND, message, f"{self.field}.{option}")
        return list(dict.fromkeys(found.values()))

    def read(self, frame: pl.DataFrame, names: Sequence[str] | None, option: str = "columns") -> list[str]:
        """The columns that an option names; without it, those that the task reads."""
        return self._own(frame, names, option, self.roles, "columns that it could be about")

    def text(self, frame: pl.DataFrame, names: Sequence[str] | None, option: str = "columns") -> list[str]:
        """The columns of text that an option names; without it, those that the task reads.

        Raises:
            TrainerError: ColumnNotFound, or DataInvalid for a column of something else.
        """
        found = self._own(frame, names, option, self.texts, "texts")
        for name in found:
            if frame.schema[name] != pl.String:
                message = f"column {name!r} holds {frame.schema[name]}, not text"
                raise TrainerError(DATA_INVALID, message, f"{self.field}.{option}")
        return found

    def joined(self, frame: pl.DataFrame, names: Sequence[str] | None, option: str = "columns") -> pl.Series:
        """The same texts, those of each row as one; missing where all of them are."""
        columns = self.text(frame, names, option)
        return frame.select(pl.concat_str(columns, separator="\n", ignore_nulls=True)).to_series()

    def _own(
        self, frame: pl.DataFrame, names: Sequence[str] | None, option: str, roles: Sequence[str], what: str
    ) -> list[str]:
        if names is not None:
            return self.named(frame, names, option)
        if not roles:
            message = f"the task reads no {what}: name them"
            raise TrainerError(DATA_INVALID, message, f"{self.field}.{option}")
        return self.named(frame, [self.columns.get(role, role) for role in roles], option)


Kept: TypeAlias = dict[str, pl.Series]
"""For each source, whether each row stays."""

Drop: TypeAlias = Callable[[Frames, Any, Naming], Kept]
"""A step that leaves rows out, by its options."""

Change: TypeAlias = Callable[[pl.DataFrame, Any, Naming], list[pl.Series]]
"""A step that changes the rows of one source, by its options: its columns of other values, which are text."""
