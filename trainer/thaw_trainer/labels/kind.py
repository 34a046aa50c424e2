"""What a kind of labels is to data and tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.rows import Rows

Facts: TypeAlias = dict[str, Any]

LABEL_FIELD = "spec.data.columns.label"

Targets: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]
"""Row numbers of a split to what the model is to give: [rows], or [rows, outputs]."""


class Labels(ABC):
    """One kind of labels."""

    problem_type: ClassVar[str]
    """What transformers' configurations call it."""

    @abstractmethod
    def read(self, rows: Rows, data: DataSpec) -> list[Any]:
        """Each row's label, hashable; anything where it marks a row as bad.

        Raises:
            TrainerError: ColumnNotFound, or DataInvalid when the column holds no labels of this kind.
        """

    @abstractmethod
    def fit(self, splits: Mapping[str, Examples], data: DataSpec) -> Facts:
        """What is learned from the training rows: `labels`, the names of the model's outputs, and what a report tells.

        Raises:
            TrainerError: DataInvalid, when there is nothing to learn, or held-out rows have what train has not.
        """

    @abstractmethod
    def stored(self, values: Sequence[Any], names: Sequence[str]) -> pa.Array:
        """Labels of the rows of a split as a store has them."""

    @abstractmethod
    def targets(self, column: pa.ChunkedArray, outputs: int) -> Targets:
        """The labels of a store's split as numbers to learn."""

    def fitted(self, facts: Facts, empty_model: Callable[[], nn.Module]) -> "Labels":
        """These labels for the trials of a store.

        Args:
            empty_model: the model without numbers; called only where it matters.
        """
        return self

    def adopt(self, model: nn.Module, folder: Path) -> None:  # noqa: B027  most kinds have nothing to do
        """Brings a head that the pretrained files have into the form that is trained, in place."""

    def release(self, model: nn.Module) -> None:  # noqa: B027  most kinds have nothing to do
        """Brings a trained head into the form that others load, in place."""

    @abstractmethod
    def losses(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The loss of each row [rows].

        Args:
            logits: [rows, outputs].
            smoothing: share of the target that is spread over what is not the label.
        """

    @abstractmethod
    def told(self, logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What predictions say beside `id`, for logits [rows, outputs]: `label`, and what the model makes of it."""

    @abstractmethod
    def metrics(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Metrics over all rows."""

    def details(self, predictions: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Any]:
        """JSON-able material for the report."""
        return {}
