"""How far a classifier's shares are what they say, and one number that mends them (Guo et al., arXiv 1706.04599)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
_RANGE = (-4.6, 4.6)
"""Logarithms that the temperature is looked for between: a hundredth to a hundredfold."""


@dataclass(frozen=True)
class Bin:
    """Rows whose likeliest class has a share in one fifteenth of 0 to 1: how many, the mean of these shares, and the
    part of the rows that is right."""

    rows: int
    share: float
    right: float


def calibration(validation: Mapping[str, NDArray[Any]], test: Mapping[str, NDArray[Any]]) -> dict[str, Any] | None:
    """`temperature` (fitted on the validation rows), the expected calibration error of the test rows without and with
    it (`ece`, `scaledEce`), and both reliability diagrams (`bins`, `scaledBins`); None where rows have no one class.

    Args:
        validation, test: predictions: `logits` [rows, classes] and `label` [rows].
    """
    if not has_one_class(test):
        return None
    if not (np.isfinite(validation["logits"]).all() and np.isfinite(test["logits"]).all()):
        return None
    found = fit_temperature(validation["logits"], validation["label"])
    told: dict[str, Any] = {"temperature": found}
    for name, divisor in (("ece", 1.0), ("scaledEce", found)):
        bins = reliability(test["logits"] / divisor, test["label"])
        told[name] = expected_error(bins)
        told["bins" if name == "ece" else "scaledBins"] = [asdict(each) for each in bins]
    return told


def has_one_class(predictions: Mapping[str, NDArray[Any]]) -> bool:
    """Whether predictions are of classes, one for each row: `logits` [rows, classes] and `label` [rows]."""
    logits, label = predictions.get("logits"), predictions.get("label")
    return logits is not None and label is not None and logits.ndim == 2 and label.ndim == 1 and label.dtype.kind == "i"


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """What logits are divided by so that the rows' cross-entropy is least.

    Its logarithm is held to 0 as by one row or so (a normal prior of deviation 1): where a model is right on every one
    of few rows, no temperature would be low enough.

    Args:
        logits: [rows, classes].
        labels: [rows].
    """
    from scipy.optimize import minimize_scalar

    wide = logits.astype(np.float64)

    def loss(logarithm: float) -> float:
        of_rows = -log_shares(wide / np.exp(logarithm))[np.arange(len(labels)), labels].sum()
        return float(of_rows + logarithm**2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-4}).x))


def reliability(logits: NDArray[Any], labels: NDArray[Any]) -> list[Bin]:
    """The bins that have rows, by rising share."""
    shares = np.exp(log_shares(logits.astype(np.float64)))
    likeliest = shares.max(axis=1)
    right = shares.argmax(axis=1) == labels
    of = np.minimum((likeliest * BINS).astype(np.int64), BINS - 1)
    return [
        Bin(int((of == number).sum()), float(likeliest[of == number].mean()), float(right[of == number].mean()))
        for number in np.unique(of)
    ]


def expected_error(bins: list[Bin]) -> float:
    """Mean distance of shares and what is right of them, over the rows."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.share - each.right) for each in bins) / rows


def log_shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the softmax of each row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
