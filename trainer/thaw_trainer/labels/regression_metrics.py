"""Metrics of numbers that were predicted."""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def regression_metrics(predicted: Numbers, labels: Numbers, unit: float) -> dict[str, float]:
    """rmse (root of the mean squared error, in the label's units), pearson and spearman (correlations; 0 where either
    side is always the same) and loss (mean squared error of what was learned).

    Args:
        predicted, labels: [rows].
        unit: what one unit of what was learned is in the label's units.
    """
    squared = float(np.mean((predicted - labels) ** 2))
    return {
        "rmse": float(np.sqrt(squared)),
        "pearson": _correlation(predicted, labels),
        "spearman": _correlation(_ranks(predicted), _ranks(labels)),
        "loss": squared / unit**2,
    }


def _correlation(one: Numbers, other: Numbers) -> float:
    left, right = one - one.mean(), other - other.mean()
    spread = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / spread) if spread > 0 else 0.0


def _ranks(values: Numbers) -> Numbers:
    """The place of each value in order; equal ones have the mean of their places."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Numbers = (last - (counts - 1) / 2)[which]
    return ranks
