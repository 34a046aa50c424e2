"""Bootstrap intervals of metrics (Efron 1979): the test rows drawn again, with replacement, and measured."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.tasks.protocol import Predictions

LEVEL = 0.95
_MOST, _FEWEST = 1000, 200
"""Draws; with fewer than these an end of the interval would rest on a handful of them."""
_SEED = 0

Interval = tuple[float, float]


def draws_for(numbers: int, budget: int) -> int:
    """How many draws there are of rows that hold so many numbers.

    Args:
        budget: numbers that may be measured in all, and not seconds, so that it is the same everywhere.
    """
    draws = min(_MOST, budget // max(1, numbers))
    return draws if draws >= _FEWEST else 0


def intervals(
    predictions: Predictions, metrics: Callable[[Predictions], Mapping[str, float]], budget: int
) -> dict[str, Interval]:
    """The middle 95% of each metric over the draws; of none where the rows are too many for enough draws.

    Args:
        predictions: of each example, whose rows are drawn together where it has several.
        metrics: of some rows, whichever and how often.
    """
    order = np.argsort(predictions["id"], kind="stable")
    _, firsts, sizes = np.unique(predictions["id"][order], return_index=True, return_counts=True)
    numbers = sum(int(column.size) for column in predictions.values())
    random = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {}
    for _ in range(draws_for(numbers, budget)):
        drawn = random.integers(len(firsts), size=len(firsts))
        begin = np.repeat(firsts[drawn] - np.cumsum(sizes[drawn]) + sizes[drawn], sizes[drawn])
        rows = order[begin + np.arange(len(begin))]
        measured = metrics(rows_of(predictions, rows))
        for name, value in measured.items():
            found.setdefault(name, []).append(float(value))
    return {name: _middle(np.asarray(values)) for name, values in found.items() if np.isfinite(values).all()}


def rows_of(predictions: Predictions, rows: NDArray[Any]) -> Predictions:
    """Some of the rows."""
    return {name: column[rows] for name, column in predictions.items()}


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
