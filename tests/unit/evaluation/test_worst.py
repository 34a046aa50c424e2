"""The test rows that a model does worst on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from thaw_trainer.data.examples import ROW
from thaw_trainer.evaluation.worst import worst_rows

ROWS = [3, 5, 8, 9]
TABLE = pa.table({ROW: ROWS, "text": ["one", "two", None, "x" * 300], "year": [1, 2, 3, 4]})


def test_a_classifiers_rows_are_told_by_their_cross_entropy_with_what_was_said() -> None:
    logits = np.asarray([[2, 0, 0], [0, 3, 0], [0, 0, 4], [0, 0, 1]], dtype=np.float32)
    labels = np.asarray([0, 0, 1, 2])
    told = worst_rows({"id": np.asarray(ROWS), "logits": logits, "label": labels}, TABLE, ["a", "b", "c"])
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), reduction="none")
    order = losses.argsort(descending=True).tolist()
    assert [each["row"] for each in told] == [ROWS[place] for place in order]
    assert [each["loss"] for each in told] == pytest.approx(losses[order].tolist())
    assert (told[0]["label"], told[0]["said"]) == ("b", "c")
    assert told[0]["share"] == pytest.approx(float(torch.from_numpy(logits[2]).softmax(0)[2]))
    assert told[0]["columns"] == {"year": "3"}
    assert told[1]["columns"] == {"text": "two", "year": "2"}


def test_a_summed_loss_is_that_of_a_token_and_written_texts_are_shown() -> None:
    written = np.empty(4, dtype=object)
    written[:] = ["w", "x", "y", "z"]
    predictions: dict[str, NDArray[Any]] = {
        "id": np.asarray(ROWS),
        "loss": np.asarray([10.0, 9.0, 1.0, np.nan]),
        "tokens": np.asarray([10, 3, 0, 1]),
        "written": written,
    }
    told = worst_rows(predictions, TABLE, ())
    assert [(each["row"], each["said"]) for each in told] == [(9, "z"), (5, "x"), (3, "w"), (8, "y")]
    assert told[1]["loss"] == 3.0
    assert len(told[0]["columns"]["text"]) == 240


def test_predictions_without_a_loss_of_a_row_have_none() -> None:
    assert worst_rows({"id": np.asarray(ROWS), "embedding": np.zeros((4, 2))}, TABLE, ()) == []
    several = {"id": np.asarray(ROWS), "logits": np.zeros((4, 2)), "label": np.zeros((4, 2), dtype=np.int8)}
    assert worst_rows(several, TABLE, ("a", "b")) == []
