"""Columns that tell the label by themselves: what is written down with the label, or after it, is often not there when
a model is used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_BINS = 20
"""A number is looked at by which twentieth of the values it is in."""
_TELLS = 0.9
"""Share of rows whose label a column has to tell; and it errs at most half as often as the most frequent label does."""
_FEWEST = 20
_MOST = 100_000
"""So many of the training rows are looked at."""


def leaking_columns(table: pa.Table, labels: Sequence[Any], read: Sequence[str]) -> list[dict[str, Any]]:
    """Columns, each with the share of the rows whose label its value tells (`tells`), and the share that has the most
    frequent label (`mostFrequent`).

    Each value's most frequent label is taken from one half of the rows and tried on the other, so that a value of its
    own for every row tells nothing.

    Args:
        table: training rows.
        labels: their classes.
        read: columns that the task reads, the label among them.
    """
    count = min(len(labels), _MOST)
    if count < _FEWEST or not all(isinstance(label, str) for label in labels[:count]):
        return []
    classes, numbers = np.unique(np.asarray(labels[:count], dtype=str), return_inverse=True)
    order = np.random.default_rng(0).permutation(count)
    numbers = numbers[order]
    most = float((numbers[1::2] == np.bincount(numbers[::2]).argmax()).mean())
    found = []
    for name in table.column_names:
        values = None if name in read else _values(table[name].slice(0, count))
        if values is None:
            continue
        tells = _tells(values[order], numbers, len(classes))
        if tells >= _TELLS and tells > most and 1 - tells <= (1 - most) / 2:
            found.append({"column": name, "tells": tells, "mostFrequent": most})
    return found


def warnings_of(suspects: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said of each."""
    return [
        f"column {each['column']!r} alone tells the label of {each['tells']:.0%} of the rows: look whether it is known "
        "before the label is"
        for each in suspects
    ]


def _tells(values: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> float:
    """Share of the odd rows whose label is the most frequent one that even rows of their value have."""
    counts = np.zeros((values.max() + 1, classes), dtype=np.int64)
    np.add.at(counts, (values[::2], labels[::2]), 1)
    guess = np.where(counts.any(axis=1), counts.argmax(axis=1), np.bincount(labels[::2]).argmax())
    return float((guess[values[1::2]] == labels[1::2]).mean())


def _values(column: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """A column's values as numbers from 0 on, a missing one among them; None for what has no single values."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        cells = pc.cast(column, pa.float64()).to_numpy()
        known = cells[np.isfinite(cells)]
        if not len(known):
            return None
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
        return np.where(np.isfinite(cells), np.searchsorted(edges, cells, side="right"), len(edges) + 1)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    return None
