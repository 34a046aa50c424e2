"""Metrics of single-label classification, computed by torchmetrics."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
)


def classification_metrics(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """accuracy (share of rows), f1 (macro), mcc (Matthews) and loss (mean cross-entropy) of logits [rows, classes]."""
    classes = logits.shape[1]
    scores, targets = torch.from_numpy(logits), torch.from_numpy(labels)
    predicted = scores.argmax(dim=1)
    return {
        # Counted exactly: a float32 mean would differ from the plain quotient in its last digit.
        "accuracy": int((predicted == targets).sum()) / max(len(targets), 1),
        "f1": float(multiclass_f1_score(predicted, targets, num_classes=classes, average="macro")),
        "mcc": float(multiclass_matthews_corrcoef(predicted, targets, num_classes=classes)),
        "loss": float(F.cross_entropy(scores.double(), targets)),
    }


def confusion(predicted: NDArray[np.int64], labels: NDArray[np.int64], names: list[str]) -> list[list[int]]:
    """Counts [true class][predicted class]."""
    matrix: Any = multiclass_confusion_matrix(
        torch.from_numpy(predicted), torch.from_numpy(labels), num_classes=max(len(names), 2)
    )
    counts: list[list[int]] = matrix.tolist()
    return counts
