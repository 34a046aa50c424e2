"""Metrics of several labels for each row, at the threshold of one half unless all thresholds count.

In numpy, as those of single labels are: they are computed after every epoch of every trial.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LabelCounts(NamedTuple):
    """Of each label [labels]: rows that have it, rows that are said to, rows of which both is true."""

    true: NDArray[np.int64]
    guessed: NDArray[np.int64]
    hits: NDArray[np.int64]


def multi_label_metrics(logits: NDArray[np.float32], labels: NDArray[np.int8]) -> dict[str, float]:
    """microF1 (over all decisions), macroF1 (mean over the labels that occur), subsetAccuracy (share of the rows whose
    labels are all right), map (mean average precision, over the labels that rows have) and loss (binary cross-entropy,
    mean over rows and labels).

    Args:
        logits: [rows, labels].
        labels: [rows, labels], 1 where the row has the label.
    """
    guessed = logits > 0  # a share above one half
    counts = label_counts(guessed, labels)
    occurring = counts.true + counts.guessed > 0
    single = 2 * counts.hits[occurring] / (counts.true + counts.guessed)[occurring]
    return {
        "microF1": f1(int(counts.hits.sum()), int(counts.true.sum()), int(counts.guessed.sum())),
        "macroF1": float(single.mean()) if occurring.any() else 0.0,
        "subsetAccuracy": float((guessed == (labels == 1)).all(axis=1).mean()),
        "map": mean_average_precision(logits, labels),
        "loss": _cross_entropy(logits.astype(np.float64), labels),
    }


def label_counts(guessed: NDArray[np.bool_], labels: NDArray[np.int8]) -> LabelCounts:
    """What is counted of each label; both [rows, labels]."""
    true = labels == 1
    return LabelCounts(true.sum(axis=0), guessed.sum(axis=0), (true & guessed).sum(axis=0))


def f1(hits: int, true: int, guessed: int) -> float:
    """Harmonic mean of precision and recall; 0 where nothing is true and nothing guessed."""
    return 2 * hits / (true + guessed) if true + guessed else 0.0


def mean_average_precision(scores: NDArray[np.float32], labels: NDArray[np.int8]) -> float:
    """The mean over the labels that rows have of the average precision: the precision at each threshold, weighted by
    how much the recall grows there. Rows of one score come in together. 0 where no row has a label."""
    found = [
        _average_precision(scores[:, label], labels[:, label] == 1)
        for label in range(labels.shape[1])
        if labels[:, label].any()
    ]
    return float(np.mean(found)) if found else 0.0


def _average_precision(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(true[order])[last_of_score]
    precision = hits / (np.flatnonzero(last_of_score) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    # log(1 + e^x) - x where the label is there, written so that no exponential is too large
    losses = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
    return float(losses.mean())
