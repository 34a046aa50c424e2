"""Rows of a source while they are read, with those that cannot be used: why, and of which field.

Few of them are left out and listed; more than `data.onBadRow` lets pass end the job before it trains.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.tables import as_text, named_column, read_table
from thaw_trainer.errors import DATA_INVALID, TrainerError

_LISTED = 20
"""So many bad rows of a job are told one by one."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its number in the source, why, and the field that it is about."""

    row: int
    why: str
    field: str
    reason: str = DATA_INVALID


class Rows:
    """Rows of one source: a `table`, and their numbers in the source, `ids`. Those in `bad`, by number, are still among
    them: nothing of theirs is used."""

    def __init__(
        self,
        table: pa.Table,
        ids: NDArray[np.int64] | None = None,
        bad: Mapping[int, BadRow] | None = None,
    ) -> None:
        self.table = table
        self.ids = np.arange(table.num_rows) if ids is None else ids
        mine = set(self.ids.tolist()) if bad else set()
        self.bad = {row: each for row, each in (bad or {}).items() if row in mine}

    def __len__(self) -> int:
        return len(self.ids)

    def mark(self, place: int, why: str, field: str, reason: str = DATA_INVALID) -> None:
        """Says that a row cannot be used; what was said of it first stands.

        Args:
            place: counts from 0 among these rows.
        """
        row = int(self.ids[place])
        self.bad.setdefault(row, BadRow(row, why, field, reason))

    def column(self, name: str, field: str) -> pa.ChunkedArray:
        """One column, null only where a row is bad for it.

        Raises:
            TrainerError: ColumnNotFound, or DataInvalid when there are several of the name.
        """
        values = named_column(self.table, name, field)
        if values.null_count:
            for place in np.flatnonzero(pc.is_null(values).to_numpy()):
                self.mark(int(place), f"column {name!r} lacks a value", field)
        return values

    def texts(self, name: str, field: str) -> list[str]:
        """A column of text, empty where a row is bad for it; numbers and booleans are written out.

        Raises:
            TrainerError: as `column`, or DataInvalid when its cells are no scalars.
        """
        found: list[str | None] = as_text(self.column(name, field), name, field)
        return ["" if text is None else text for text in found]

    def replacing(self, name: str, new: str, values: pa.ChunkedArray | pa.Array) -> "Rows":
        """The same rows with a column in the place of another, and of any that has its name already."""
        kept = self.table.drop_columns([each for each in self.table.column_names if each in (name, new)])
        return Rows(kept.append_column(new, values), self.ids, self.bad)

    def each(self, name: str, field: str, read: Callable[[Any], Any]) -> list[Any]:
        """What is read of each cell of a column; None where a row is bad for it.

        Args:
            read: raises ValueError with what is wrong with a cell.

        Raises:
            TrainerError: as `column`.
        """
        found: list[Any] = []
        for place, cell in enumerate(self.column(name, field).to_pylist()):
            try:
                found.append(None if cell is None else read(cell))
            except ValueError as error:
                self.mark(place, str(error), field)
                found.append(None)
        return found


def encoded_column(rows: Rows, name: str, field: str) -> pa.ChunkedArray:
    """A column of encoded files: of bytes (of structs with a field `bytes`, those), or of something else.

    Raises:
        TrainerError: as Rows.column.
    """
    values = rows.column(name, field)
    if not pa.types.is_struct(values.type) or values.type.get_field_index("bytes") < 0:
        return values
    found = pc.struct_field(values, "bytes")
    for place in np.flatnonzero(pc.is_null(found).to_numpy()):
        rows.mark(int(place), f"column {name!r} lacks bytes", field)
    return found


def open_table(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    """The rows of a table; see Reader.open."""
    return Rows(read_table(path, source.format, field))


class LeftOut:
    """The bad rows of a job that were left out, and how many of them may be."""

    def __init__(self, data: DataSpec) -> None:
        self._most = data.on_bad_row.refuse_above
        self._count = 0
        self._listed: list[dict[str, Any]] = []

    def add(self, of: str, rows: int, bad: Sequence[BadRow]) -> None:
        """Notes the bad ones among some rows.

        Args:
            of: the source or split that they are of.

        Raises:
            TrainerError: they are too many; of the first one's reason and field.
        """
        if not bad:
            return
        first = min(bad, key=lambda each: each.row)
        if len(bad) > self._most * rows or len(bad) == rows:
            message = (
                f"{len(bad)} of {rows} rows of {of} cannot be used, and data.onBadRow.refuseAbove is {self._most:g}; "
                f"the first is row {first.row}: {first.why}"
            )
            raise TrainerError(first.reason, message, first.field)
        self._count += len(bad)
        for each in sorted(bad, key=lambda each: each.row)[: _LISTED - len(self._listed)]:
            self._listed.append({"of": of} | {name: asdict(each)[name] for name in ("row", "why", "field")})

    def facts(self) -> dict[str, Any]:
        """How many there were, and the first of them."""
        return {"count": self._count, "listed": self._listed}
