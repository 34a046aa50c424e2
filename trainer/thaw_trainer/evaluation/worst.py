"""The test rows that a model does worst on: what people look at to see what is hard, and what is labelled wrong."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_trainer.data.examples import ROW
from thaw_trainer.evaluation.calibration import has_one_class, log_shares

_SHOWN = 10
_LETTERS = 240
_COLUMNS = 6
_COUNTED = ("tokens", "characters")
"""What a row's summed loss is divided by."""


def worst_rows(
    predictions: Mapping[str, NDArray[Any]], test_rows: pa.Table, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of greatest loss, the worst first; none where predictions have no loss of a row.

    Args:
        predictions: of the test rows.
        test_rows: a store's table of their columns.
        labels: names of a classifier's classes.

    Returns:
        Of each: `row` (its number in the source), `loss`, `columns` (shortened texts by name), `said`, and of a
        classifier the `label`, and the `share` of what was said.
    """
    if has_one_class(predictions):
        shares = log_shares(predictions["logits"].astype(np.float64))
        losses = -shares[np.arange(len(shares)), predictions["label"]]
    elif "loss" in predictions and predictions["loss"].dtype.kind == "f":
        counted = next((predictions[name] for name in _COUNTED if name in predictions), np.ones(1))
        shares, losses = None, predictions["loss"] / np.maximum(counted, 1)
    else:
        return []
    order = np.argsort(-np.nan_to_num(losses, nan=np.inf), kind="stable")[:_SHOWN]
    place = {row: index for index, row in enumerate(test_rows[ROW].to_pylist())}
    told = []
    for index in order.tolist():
        row = int(predictions["id"][index])
        each: dict[str, Any] = {"row": row, "loss": float(losses[index]), "columns": _cells(test_rows, place.get(row))}
        if shares is not None:
            said = int(shares[index].argmax())
            each |= {"label": labels[predictions["label"][index]], "said": labels[said]}
            each["share"] = float(np.exp(shares[index, said]))
        else:
            written = predictions.get("written", predictions.get("predicted"))
            if written is not None and isinstance(written[index], str):
                each["said"] = _shortened(written[index])
        told.append(each)
    return told


def _cells(table: pa.Table, place: int | None) -> dict[str, str]:
    if place is None:
        return {}
    names = [name for name in table.column_names if name != ROW][:_COLUMNS]
    cells = {name: table[name][place].as_py() for name in names}
    return {name: _shortened(str(cell)) for name, cell in cells.items() if cell is not None}


def _shortened(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
