"""Reading tables (csv, tsv, jsonl, parquet, saved datasets) with the columns that a task needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from thaw_trainer.data.saved_dataset import is_saved_dataset, read_saved_dataset
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, DATA_UNREADABLE, TrainerError

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}

_BLOCK_BYTES = 16 * 2**20
"""How much of a file is read at a time; a row must fit into it."""


def read_table(path: Path, table_format: str | None, field: str) -> pa.Table:
    """The table in a file, or in a folder that is a saved dataset.

    Args:
        table_format: csv, tsv, jsonl, parquet or dataset; None: by the name's ending, or by what the folder holds.
        field: path of the manifest's field that names the file (`spec.data.train`); its last part is the split that a
            dataset of several is read for.

    Raises:
        TrainerError: DataUnreadable, or DataInvalid when it has no rows.
    """
    known = table_format or ("dataset" if is_saved_dataset(path) else _ENDINGS.get(path.suffix.lower()))
    if known is None:
        raise TrainerError(
            DATA_UNREADABLE, f"{path.name}: no format by this ending; say csv, tsv, jsonl or parquet", f"{field}.format"
        )
    try:
        if known in ("csv", "tsv"):
            table = _read_separated(path, "\t" if known == "tsv" else ",")
        elif known == "dataset":
            table = read_saved_dataset(path, field)
        elif known == "jsonl":
            table = pyarrow.json.read_json(path, pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES))
        else:
            table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TrainerError(DATA_UNREADABLE, f"{path} is no readable {known}: {error}", f"{field}.uri") from error
    if table.num_rows == 0:
        raise TrainerError(DATA_INVALID, f"{path} has no rows", f"{field}.uri")
    return table


def _read_separated(path: Path, delimiter: str) -> pa.Table:
    """A csv or tsv file, every cell as it is written: such a file has no types, and a guess would make one label of
    `1.10` and `1.1`. An empty cell is a missing one, unless it is quoted."""
    read = pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, read_options=read, parse_options=parse) as first_block:
        names = first_block.schema.names
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)


def named_column(table: pa.Table, name: str, field: str) -> pa.ChunkedArray:
    """One column; cells may be missing.

    Args:
        field: path of the field that names the column.

    Raises:
        TrainerError: ColumnNotFound, or DataInvalid when there are several of the name.
    """
    if name not in table.column_names:
        raise TrainerError(
            COLUMN_NOT_FOUND, f"the data has no column {name!r}; it has {', '.join(table.column_names)}", field
        )
    if table.column_names.count(name) > 1:
        raise TrainerError(DATA_INVALID, f"the data has several columns {name!r}: keep one", field)
    return table[name]


def plain_columns(table: pa.Table) -> list[str]:
    """The columns that hold single values other than bytes, and whose name no other has."""
    return [
        name
        for name, kind in zip(table.column_names, table.schema.types, strict=True)
        if not pa.types.is_nested(kind)
        and not pa.types.is_binary(kind)
        and not pa.types.is_large_binary(kind)
        and table.column_names.count(name) == 1
    ]


def text_column(table: pa.Table, name: str, field: str, ids: Sequence[int] | None = None) -> list[str]:
    """A column of text, complete; numbers and booleans are written out.

    Args:
        ids: the rows' numbers, for errors; absent: as they are counted.

    Raises:
        TrainerError: ColumnNotFound, or DataInvalid when there are several of the name, cells are missing or no
            scalars.
    """
    values = named_column(table, name, field)
    if values.null_count:
        place = pc.index(pc.is_null(values), True).as_py()
        first = place if ids is None else ids[place]
        raise TrainerError(
            DATA_INVALID, f"column {name!r} lacks a value in {values.null_count} rows, the first is row {first}", field
        )
    return as_text(values, name, field)


def as_text(values: pa.ChunkedArray, name: str, field: str) -> list[Any]:
    """Cells as text, None where they are missing; numbers and booleans are written out.

    Raises:
        TrainerError: DataInvalid when they are no scalars.
    """
    try:
        kind = pa.large_string() if pa.types.is_large_string(values.type) else pa.string()
        return list(pc.cast(values, kind).to_pylist())
    except pa.ArrowException as error:
        raise TrainerError(DATA_INVALID, f"column {name!r} holds {values.type}, not text", field) from error
