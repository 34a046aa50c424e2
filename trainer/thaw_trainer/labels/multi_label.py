"""Any number of labels for each row, none too: each is decided by itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import SPLITS, Examples
from thaw_trainer.data.rows import Rows
from thaw_trainer.data.store import ragged
from thaw_trainer.data.tables import named_column
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.labels.kind import LABEL_FIELD, Facts, Labels, Targets
from thaw_trainer.labels.multi_label_metrics import f1, label_counts, multi_label_metrics

_SHOWN = 5
_SEPARATOR_FIELD = "spec.data.labels.separator"


class MultiLabel(Labels):
    """See Labels. Stored as a list of the labels' numbers, learned as a row of zeros and ones."""

    problem_type = "multi_label_classification"

    def __init__(self, separator: str | None = None) -> None:
        self._separator = separator

    def read(self, rows: Rows, data: DataSpec) -> list[tuple[str, ...]]:
        """See Labels: each row's labels, sorted, each once."""
        found = self._from_text(rows.table, data) if self._separator else _from_lists(rows, data)
        return [tuple(sorted(set(row))) for row in found]

    def _from_text(self, table: pa.Table, data: DataSpec) -> list[list[str]]:
        """Cells of text with a separator; a cell that is missing has no label, as csv writes it."""
        name = data.column("label")
        values = named_column(table, name, LABEL_FIELD)
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            message = f"column {name!r} holds {values.type}, not text: a separator separates nothing there"
            raise TrainerError(DATA_INVALID, message, _SEPARATOR_FIELD)
        parts = ((cell or "").split(self._separator) for cell in values.to_pylist())
        return [[part.strip() for part in row if part.strip()] for row in parts]

    def fit(self, splits: Mapping[str, Examples], data: DataSpec) -> Facts:
        """See Labels: the labels, how many rows each has in each split, and what one answer for all rows reaches."""
        counts = {
            name: Counter(label for row in rows.columns["label"] for label in row) for name, rows in splits.items()
        }
        labels = sorted(counts["train"])
        if not labels:
            raise TrainerError(DATA_INVALID, "no training row has a label", LABEL_FIELD)
        for name in SPLITS[1:]:
            unknown = sorted(counts[name].keys() - set(labels))
            if unknown:
                message = (
                    f"{name} has labels that no training row has: {unknown[:_SHOWN]}; leave labels out that so few "
                    "rows have, or give more of these rows"
                )
                raise TrainerError(DATA_INVALID, message, LABEL_FIELD)
        return {
            "labels": labels,
            "classes": {name: {label: counts[name][label] for label in labels} for name in splits},
            "baseline": _same_for_all(counts, {name: len(rows) for name, rows in splits.items()}),
        }

    def stored(self, values: Sequence[tuple[str, ...]], names: Sequence[str]) -> pa.Array:
        """See Labels."""
        number = {name: index for index, name in enumerate(names)}
        return pa.array([[number[label] for label in row] for row in values], pa.list_(pa.int32()))

    def targets(self, column: pa.ChunkedArray, outputs: int) -> Targets:
        """See Labels: [rows, labels] of float32, 1 where the row has the label."""
        numbers, offsets = ragged(column)

        def of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            found = np.zeros((len(rows), outputs), dtype=np.float32)
            for place, row in enumerate(rows):
                found[place, numbers[offsets[row] : offsets[row + 1]]] = 1.0
            return found

        return of

    def losses(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """See Labels: binary cross-entropy, the mean over the labels; smoothing moves each target towards a half."""
        smooth = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none").mean(dim=1)

    def told(self, logits: NDArray[np.float32], targets: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """See Labels: `label` [rows, labels], 1 where the row has the label, and `logits` [rows, labels]."""
        return {"label": targets.astype(np.int8), "logits": logits}

    def metrics(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """See Labels."""
        return multi_label_metrics(predictions["logits"], predictions["label"])

    def details(self, predictions: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Any]:
        """See Labels: of each label, the rows that have it, those that are said to, and those of which both is true."""
        counts = label_counts(predictions["logits"] > 0, predictions["label"])
        return {"labelCounts": {name: numbers.tolist() for name, numbers in counts._asdict().items()}}


def _from_lists(rows: Rows, data: DataSpec) -> list[list[str]]:
    name = data.column("label")
    values = rows.column(name, LABEL_FIELD)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        message = f"column {name!r} holds text: say what separates its labels, or write lists"
        raise TrainerError(DATA_INVALID, message, _SEPARATOR_FIELD)
    try:
        lists: list[list[str | None] | None] = pc.cast(values, pa.list_(pa.string())).to_pylist()
    except pa.ArrowException as error:
        message = f"column {name!r} holds {values.type}, not lists of labels"
        raise TrainerError(DATA_INVALID, message, LABEL_FIELD) from error
    found = []
    for place, labels in enumerate(lists):
        found.append([label for label in labels or () if label is not None])
        if labels is not None and len(found[-1]) < len(labels):
            rows.mark(place, f"column {name!r} lacks a value in its list", LABEL_FIELD)
    return found


def _same_for_all(counts: Mapping[str, Counter[str]], rows: Mapping[str, int]) -> dict[str, Any]:
    """The labels whose choice for every row has the best micro F1 on train: the most frequent ones, down to a point."""
    frequent = [label for label, _ in sorted(counts["train"].items(), key=lambda each: (-each[1], each[0]))]

    def reached(split: str, chosen: Sequence[str]) -> float:
        hits = sum(counts[split][label] for label in chosen)
        return f1(hits, counts[split].total(), rows[split] * len(chosen))

    best = max((frequent[: size + 1] for size in range(len(frequent))), key=lambda each: reached("train", each))
    shown = ", ".join(best[:_SHOWN]) + (f" and {len(best) - _SHOWN} more" if len(best) > _SHOWN else "")
    return {
        "metric": "microF1",
        "test": reached("test", best),
        "description": f"giving every row the labels that do best for all training rows ({shown})",
    }
