"""How far shares are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_calibration_error

from thaw_trainer.evaluation.calibration import calibration, expected_error, fit_temperature, reliability


def drawn(rows: int, scale: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits that are `scale` times those that the labels are drawn by."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 4)) * 2
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.asarray([random.choice(4, p=each) for each in shares])
    return (scale * logits).astype(np.float32), labels


@pytest.mark.parametrize("scale", [0.25, 1.0, 6.0])
def test_the_temperature_is_how_much_too_sure_the_logits_are(scale: float) -> None:
    assert fit_temperature(*drawn(4000, scale)) == pytest.approx(scale, rel=0.1)


def test_a_model_that_is_right_on_every_row_is_not_made_endlessly_sure() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(4, size=50)
    logits = np.eye(4, dtype=np.float32)[labels] + random.normal(size=(50, 4)).astype(np.float32) / 10
    assert fit_temperature(logits, labels) > 0.1


@settings(deadline=None)
@given(st.integers(1, 300), st.floats(0.1, 8), st.integers(0, 100))
def test_the_error_is_torchmetrics_own(rows: int, scale: float, seed: int) -> None:
    logits, labels = drawn(rows, scale, seed)
    shares = torch.from_numpy(logits.astype(np.float64)).softmax(dim=1)
    theirs = multiclass_calibration_error(shares, torch.from_numpy(labels), num_classes=4, n_bins=15, norm="l1")
    assert expected_error(reliability(logits, labels)) == pytest.approx(float(theirs), abs=1e-5)


def test_scaling_mends_what_is_too_sure_and_changes_no_answer() -> None:
    (logits, labels), (others, their_labels) = drawn(3000, 5.0), drawn(3000, 5.0, seed=1)
    found = calibration({"logits": logits, "label": labels}, {"logits": others, "label": their_labels})
    assert found is not None
    assert found["scaledEce"] < 0.03 < 0.15 < found["ece"]
    assert sum(each["rows"] for each in found["bins"]) == 3000
    assert sum(each["right"] * each["rows"] for each in found["bins"]) == pytest.approx(
        sum(each["right"] * each["rows"] for each in found["scaledBins"])
    )


def test_rows_with_several_labels_or_numbers_have_none() -> None:
    several: dict[str, NDArray[Any]] = {"logits": np.zeros((5, 3)), "label": np.zeros((5, 3), dtype=np.int8)}
    numbers: dict[str, NDArray[Any]] = {"predicted": np.zeros(5), "label": np.zeros(5)}
    assert calibration(several, several) is None
    assert calibration(numbers, numbers) is None
