"""One of several classes for each row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import Examples, class_counts, fit_labels
from thaw_trainer.data.rows import Rows
from thaw_trainer.labels.kind import LABEL_FIELD, Facts, Labels, Targets
from thaw_trainer.tasks.classification import confusion_details
from thaw_trainer.tasks.classification_metrics import classification_metrics


class SingleLabel(Labels):
    """See Labels. Stored and learned as the number of the class."""

    problem_type = "single_label_classification"

    def read(self, rows: Rows, data: DataSpec) -> list[str]:
        """See Labels: classes by name; numbers and booleans are written out."""
        return rows.texts(data.column("label"), LABEL_FIELD)

    def fit(self, splits: Mapping[str, Examples], data: DataSpec) -> Facts:
        """See Labels: the classes, and how many rows each has in each split."""
        labels = fit_labels(dict(splits))
        return {"labels": labels, "classes": class_counts(dict(splits), labels)}

    def stored(self, values: Sequence[str], names: Sequence[str]) -> pa.Array:
        """See Labels."""
        number = {name: index for index, name in enumerate(names)}
        return pa.array([number[value] for value in values], pa.int64())

    def targets(self, column: pa.ChunkedArray, outputs: int) -> Targets:
        """See Labels: [rows] of int64."""
        numbers: NDArray[np.int64] = column.to_numpy()
        return lambda rows: numbers[rows]

    def losses(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """See Labels: cross-entropy."""
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")

    def told(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """See Labels: `logits` [rows, classes]."""
        return {"label": targets, "logits": logits}

    def metrics(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """See Labels."""
        return classification_metrics(predictions["logits"], predictions["label"])

    def details(self, predictions: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Any]:
        """See Labels: the confusion matrix."""
        return confusion_details(dict(predictions), list(names))
