"""Columns that tell the label by themselves: what is written down with the label, or after it, is often not there when
a model is used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_BINS = 20
"""Numbers that are hardly ever the same are looked at by which twentieth of them each is in."""
_TELLS = 0.9
"""Share of rows whose label a column has to tell; and it errs at most half as often as the most frequent label does."""
_FEWEST = 20
_MOST_CLASSES = 1000
_ROWS_OF_A_VALUE = 10
LOOKED_AT = 100_000
"""So many of the training rows are looked at."""


def leaking_columns(table: pa.Table, labels: Sequence[Any]) -> list[dict[str, Any]]:
    """Columns, each with the share of the rows whose label its value tells (`tells`), and the share that has the most
    frequent label (`mostFrequent`).

    Each value's most frequent label is taken from one half of the rows and tried on the other, so that a value of its
    own for every row tells nothing.

    Args:
        table: training rows, the columns that the task does not read.
        labels: their classes.
    """
    if len(labels) < _FEWEST or not all(isinstance(label, str) for label in labels):
        return []
    classes, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        return []
    order = np.random.default_rng(0).permutation(len(labels))
    numbers = numbers[order]
    most = float((numbers[1::2] == np.bincount(numbers[::2]).argmax()).mean())
    found = []
    for name in table.column_names:
        values = _values(table[name])
        if values is None:
            continue
        tells = _tells(values[order], numbers)
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


def _tells(values: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of the odd rows whose label is the most frequent one that even rows of their value have."""
    guess = np.full(values.max() + 1, np.bincount(labels[::2]).argmax())
    pairs, counts = np.unique(np.stack([values[::2], labels[::2]]), axis=1, return_counts=True)
    rising = np.argsort(counts, kind="stable")
    guess[pairs[0, rising]] = pairs[1, rising]  # the last one that is written for a value is its most frequent
    return float((guess[values[1::2]] == labels[1::2]).mean())


def _values(column: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """A column's values as numbers from 0 on, a missing one among them; None for what has no single values."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        cells = pc.cast(column, pa.float64(), safe=False).to_numpy()
        known = cells[np.isfinite(cells)]
        if not len(known):
            return None
        edges = np.unique(known)[1:]
        if len(edges) > len(known) // _ROWS_OF_A_VALUE:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
        return np.where(np.isfinite(cells), np.searchsorted(edges, cells, side="right"), len(edges) + 1)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        found = pc.dictionary_encode(column, null_encoding="encode").unify_dictionaries()
        return np.concatenate([np.asarray(chunk.indices, dtype=np.int64) for chunk in found.chunks])
    return None
