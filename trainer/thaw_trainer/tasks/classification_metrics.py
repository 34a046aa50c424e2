"""Metrics of single-label classification, computed by scikit-learn.

It is imported when the first metric is computed, so never by a driver; torchmetrics, the other candidate, costs every
worker two seconds and a half for its audio, text and image metrics.
"""

import numpy as np
from numpy.typing import NDArray


def classification_metrics(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """accuracy (share of rows), f1 (macro, over the classes that occur), mcc (Matthews) and loss (mean cross-entropy).

    Args:
        logits: [rows, classes].
        labels: [rows].
    """
    from scipy.special import log_softmax
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    predicted = logits.argmax(axis=1)
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted, average="macro")),
        "mcc": float(matthews_corrcoef(labels, predicted)),
        "loss": float(-log_probabilities[np.arange(len(labels)), labels].mean()),
    }


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], names: list[str]) -> list[list[int]]:
    """Counts [true class][predicted class]."""
    from sklearn.metrics import confusion_matrix

    counts: list[list[int]] = confusion_matrix(labels, predicted, labels=range(len(names))).tolist()
    return counts
