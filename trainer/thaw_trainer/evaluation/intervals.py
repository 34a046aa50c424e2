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


def draws_for(rows: int, budget: int) -> int:
    """How many draws so many rows get.

    Args:
        budget: rows that may be measured in all; a number of rows, not of seconds, so that it is the same everywhere.
    """
    draws = min(_MOST, budget // max(1, rows))
    return draws if draws >= _FEWEST else 0


def intervals(
    predictions: Predictions, metrics: Callable[[Predictions], Mapping[str, float]], budget: int
) -> dict[str, Interval]:
    """The middle 95% of each metric over the draws; of none where the rows are too many for enough draws.

    Args:
        predictions: one for each example.
        metrics: of some rows, whichever and how often.
    """
    count = len(predictions["id"])
    random = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {}
    for _ in range(draws_for(count, budget)):
        drawn = random.integers(count, size=count)
        measured = metrics(rows_of(predictions, drawn))
        for name, value in measured.items():
            found.setdefault(name, []).append(float(value))
    return {name: _middle(np.asarray(values)) for name, values in found.items() if np.isfinite(values).all()}


def rows_of(predictions: Predictions, rows: NDArray[Any]) -> Predictions:
    """Some of the rows."""
    return {name: column[rows] for name, column in predictions.items()}


def _middle(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
