"""A number for each row.

It is learned standardized, by mean and deviation of the training rows: a head that begins about zero and moves by the
learning rate would take thousands of steps to prices. Predictions and metrics are in the label's own units, and what is
exported gives them too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.rows import Rows
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.labels.kind import LABEL_FIELD, Facts, Labels, Targets
from thaw_trainer.labels.regression_metrics import regression_metrics
from thaw_trainer.labels.target_scale import TargetScale
from thaw_trainer.models import pretrained


class Regression(Labels):
    """See Labels. Stored as it is, learned standardized."""

    problem_type = "regression"

    def __init__(self, scale: TargetScale | None = None) -> None:
        self._scale = scale or TargetScale()

    def read(self, rows: Rows, data: DataSpec) -> list[float]:
        """See Labels: finite numbers; text that is one is read as such."""
        name = data.column("label")

        def number(cell: Any) -> float:
            try:
                read = math.nan if isinstance(cell, str) and "_" in cell else float(cell)
            except (TypeError, ValueError):
                read = math.nan
            if not math.isfinite(read):
                raise ValueError(f"column {name!r} holds {cell!r}, which is no finite number")
            return read

        return rows.each(name, LABEL_FIELD, number)

    def fit(self, splits: Mapping[str, Examples], data: DataSpec) -> Facts:
        """See Labels: mean and deviation of train, and the error of answering that mean."""
        train, test = (np.asarray(splits[name].columns["label"], dtype=np.float64) for name in ("train", "test"))
        mean, deviation = float(train.mean()), float(train.std())
        if deviation == 0:
            raise TrainerError(DATA_INVALID, f"every training row has the label {mean:g}", LABEL_FIELD)
        return {
            "labels": [data.column("label")],
            "target": {"mean": mean, "deviation": deviation},
            "baseline": {
                "metric": "rmse",
                "test": float(np.sqrt(np.mean((test - mean) ** 2))),
                "description": f"always answering the mean of the training rows ({mean:.6g})",
            },
        }

    def stored(self, values: Sequence[float], names: Sequence[str]) -> pa.Array:
        """See Labels."""
        return pa.array(values, pa.float64())

    def targets(self, column: pa.ChunkedArray, outputs: int) -> Targets:
        """See Labels: [rows] of float64, in the label's units."""
        numbers: NDArray[np.float64] = column.to_numpy()
        return lambda rows: numbers[rows]

    def fitted(self, facts: Facts, empty_model: Callable[[], nn.Module]) -> "Regression":
        """See Labels."""
        return Regression(TargetScale.of(facts["target"]["mean"], facts["target"]["deviation"], empty_model()))

    def adopt(self, model: nn.Module, folder: Path) -> None:
        """See Labels. A head of one output that is no regression's speaks in no units of the label."""
        if pretrained.load_config(folder).problem_type == self.problem_type:
            self._scale.take_out(model, folder)

    def release(self, model: nn.Module) -> None:
        """See Labels. In float32: of a shift as large as a year, bfloat16 would keep three digits."""
        self._scale.put_in(model.float())

    def losses(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """See Labels: squared errors, in units of the standardized label."""
        wanted = ((targets - self._scale.shift) / self._scale.factor).to(logits.dtype)
        return (logits.squeeze(-1) - wanted) ** 2

    def told(self, logits: NDArray[np.float32], targets: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
        """See Labels: `predicted` [rows], in the label's units."""
        predicted = logits[:, 0].astype(np.float64) * self._scale.factor + self._scale.shift
        return {"label": targets, "predicted": predicted}

    def metrics(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """See Labels."""
        return regression_metrics(predictions["predicted"], predictions["label"], self._scale.factor)
