"""How much better one classifier is than another on the same rows (paired bootstrap, Efron 1979)."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.evaluation.calibration import has_one_class

_DRAWS = 10_000
_AT_ONCE = 2_000_000
"""Numbers that are drawn at a time."""


@dataclass(frozen=True)
class Difference:
    """The accuracy of one less that of another, and its middle 95% when the rows are drawn again."""

    value: float
    low: float
    high: float


def right_rows(file: Path) -> dict[tuple[int, int], bool] | None:
    """Which test rows, by number and label, a run was right on; None where its predictions are not of one
    class for each row."""
    try:
        with np.load(file) as told:
            if not has_one_class(told):
                return None
            label, logits = told["label"], told["logits"]
            rows = zip(told["id"].tolist(), label.tolist(), strict=True)
            return dict(zip(rows, (logits.argmax(axis=1) == label).tolist(), strict=True))
    except (OSError, ValueError, EOFError, BadZipFile):
        return None


def accuracy_difference(own: NDArray[np.bool_], other: NDArray[np.bool_], seed: int = 0) -> Difference:
    """Of the first less the second.

    Args:
        own, other: whether each was right on a row, the same rows in the same order.
    """
    gains = own.astype(np.int8) - other.astype(np.int8)
    random, rows = np.random.default_rng(seed), len(gains)
    means = []
    for begin in range(0, _DRAWS, step := max(1, _AT_ONCE // rows)):
        drawn = random.integers(rows, size=(min(step, _DRAWS - begin), rows))
        means.append(gains[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Difference(float(gains.mean()), float(low), float(high))
