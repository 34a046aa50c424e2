"""What classification tasks share: one of several labels for each example, whatever it is made of."""

from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thaw_trainer.tasks.classification_metrics import confusion_counts
from thaw_trainer.tasks.protocol import Outputs, Predictions


class LabelledBatch(Protocol):
    """What a batch of labelled examples has: `label`, `id` and `weight` (1 counts, 0 fills up) [rows]."""

    @property
    def label(self) -> NDArray[np.int64]:
        """Number of each row's class."""

    @property
    def id(self) -> NDArray[np.int64]:
        """Number of each row in its source."""

    @property
    def weight(self) -> NDArray[np.float32]:
        """What counts."""


def cross_entropy(logits: torch.Tensor, batch: LabelledBatch, smoothing: float) -> tuple[torch.Tensor, float]:
    """The loss summed over the rows that count, and their number.

    Args:
        logits: [rows, classes].
        smoothing: share of the target that is spread over all classes.
    """
    label = torch.from_numpy(batch.label).to(logits.device)
    losses = F.cross_entropy(logits, label, label_smoothing=smoothing, reduction="none")
    return (losses * torch.from_numpy(batch.weight).to(logits.device)).sum(), float(batch.weight.sum())


def class_predictions(batch: LabelledBatch, outputs: Outputs) -> Predictions:
    """Columns id, label and logits [rows, classes] of the rows that count."""
    counted = batch.weight > 0
    logits = outputs["logits"].cpu().numpy()
    return {"id": batch.id[counted], "label": batch.label[counted], "logits": logits[counted]}


def confusion_details(predictions: Predictions, labels: list[str]) -> dict[str, Any]:
    """The confusion matrix for the report: rows are true labels."""
    predicted = predictions["logits"].argmax(axis=1)
    counts = confusion_counts(predicted, predictions["label"], len(labels))
    return {"confusion": {"labels": labels, "matrix": counts.tolist()}}
