"""What classification tasks share: one of several labels for each example, whatever it is made of."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thaw_api.training import TrainingSpec
from thaw_trainer.tasks.classification_metrics import confusion_counts
from thaw_trainer.tasks.protocol import Outputs, Predictions
from thaw_trainer.tasks.row_losses import row_losses, row_weights


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


def cross_entropy(
    compute: Callable[[], torch.Tensor],
    batch: LabelledBatch,
    facts: Mapping[str, Any],
    training: TrainingSpec,
    device: torch.device,
) -> tuple[torch.Tensor, float]:
    """The loss summed over rows, each as much as it counts, and how much that is.

    Args:
        compute: logits [rows, classes] of the batch, computed anew in each call.
        facts: the store's.
    """
    counted = row_weights(batch.weight, batch.label, facts, training)
    label, weight = (torch.from_numpy(each).to(device) for each in (batch.label, counted))

    def losses_of(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, label, label_smoothing=training.label_smoothing, reduction="none")

    return (row_losses(compute, losses_of, training) * weight).sum(), float(counted.sum())


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
