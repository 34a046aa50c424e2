"""Metrics of several labels and of numbers, compared with scikit-learn and scipy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, root_mean_squared_error

from thaw_trainer.labels.multi_label_metrics import multi_label_metrics
from thaw_trainer.labels.regression_metrics import regression_metrics

SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 6))
SCORES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
"""Few values, so that many scores are equal."""


@st.composite
def answers(draw: st.DrawFn) -> tuple[Any, Any]:
    """Logits and labels [rows, labels]."""
    shape = draw(SHAPES)
    return draw(arrays(np.float32, shape, elements=SCORES)), draw(arrays(np.int8, shape, elements=st.integers(0, 1)))


@given(answers())
@settings(max_examples=150, deadline=None)
def test_metrics_of_several_labels_are_scikit_learns(found: tuple[Any, Any]) -> None:
    logits, labels = found
    guessed = (logits > 0).astype(np.int8)
    occurring = (labels.sum(axis=0) + guessed.sum(axis=0)) > 0
    there = labels.any(axis=0)
    wanted = {
        "microF1": f1_score(labels, guessed, average="micro", zero_division=0) if labels.shape[1] > 1 else None,
        "macroF1": np.mean(f1_score(labels, guessed, average=None, zero_division=0)[occurring])
        if labels.shape[1] > 1 and occurring.any()
        else None,
        "subsetAccuracy": accuracy_score(labels, guessed),
        "map": np.mean([average_precision_score(labels[:, each], logits[:, each]) for each in np.flatnonzero(there)])
        if there.any()
        else 0.0,
        "loss": float(F.binary_cross_entropy_with_logits(torch.tensor(logits).double(), torch.tensor(labels).double())),
    }
    metrics = multi_label_metrics(logits, labels)
    assert metrics.keys() == wanted.keys()
    for name, value in wanted.items():
        assert value is None or metrics[name] == pytest.approx(value, abs=1e-9), name


def test_nothing_given_to_rows_without_labels_is_all_right_and_no_hit() -> None:
    metrics = multi_label_metrics(np.full((4, 2), -1.0, dtype=np.float32), np.zeros((4, 2), dtype=np.int8))
    assert metrics["subsetAccuracy"] == 1.0
    assert metrics["microF1"] == metrics["macroF1"] == metrics["map"] == 0.0


def test_logits_of_any_size_have_a_finite_loss() -> None:
    logits = np.asarray([[1e4, -1e4]], dtype=np.float32)
    assert multi_label_metrics(logits, np.asarray([[1, 0]], dtype=np.int8))["loss"] == 0.0
    assert multi_label_metrics(logits, np.asarray([[0, 1]], dtype=np.int8))["loss"] == pytest.approx(1e4)


NUMBERS = st.integers(-20, 20).map(lambda each: each / 4)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=40))
@settings(max_examples=150, deadline=None)
def test_metrics_of_numbers_are_scipys(rows: list[tuple[float, float]]) -> None:
    predicted, labels = (np.asarray(each, dtype=np.float64) for each in zip(*rows, strict=True))
    metrics = regression_metrics(predicted, labels, unit=2.0)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(labels, predicted))
    assert metrics["loss"] == pytest.approx(metrics["rmse"] ** 2 / 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy says that a constant has no correlation
        wanted = {"pearson": pearsonr(predicted, labels)[0], "spearman": spearmanr(predicted, labels)[0]}
    for name, value in wanted.items():
        assert metrics[name] == pytest.approx(0.0 if np.isnan(value) else value, abs=1e-9), name
