from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_matthews_corrcoef

from thaw_trainer.tasks.classification_metrics import classification_metrics, confusion_counts

SEEDS = st.integers(0, 2**31)


def rows(seed: int, count: int, classes: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, classes)).astype(np.float32), random.integers(0, classes, count)


def f1_by_hand(predicted: Any, labels: Any) -> float:
    """The mean, over the classes that occur, of 2 tp / (2 tp + fp + fn)."""
    scores = []
    for each in sorted({*predicted.tolist(), *labels.tolist()}):
        hits = int(((predicted == each) & (labels == each)).sum())
        scores.append(2 * hits / int((predicted == each).sum() + (labels == each).sum()))
    return sum(scores) / len(scores)


@given(SEEDS, st.integers(2, 40), st.integers(2, 5))
def test_metrics_are_those_of_an_independent_computation(seed: int, count: int, classes: int) -> None:
    logits, labels = rows(seed, count, classes)
    found = classification_metrics(logits, labels)
    predicted = logits.argmax(axis=1)
    assert found["accuracy"] == sum(map(int.__eq__, predicted.tolist(), labels.tolist())) / count
    assert found["f1"] == pytest.approx(f1_by_hand(predicted, labels))
    expected = multiclass_matthews_corrcoef(torch.from_numpy(predicted), torch.from_numpy(labels), num_classes=classes)
    if len(set(labels.tolist())) > 1 and len(set(predicted.tolist())) > 1:
        assert found["mcc"] == pytest.approx(float(expected), abs=1e-5)
        assert found["mcc"] == pytest.approx(matthews_corrcoef(labels, predicted))
    assert found["f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    loss = F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    assert found["loss"] == pytest.approx(float(loss))


@given(SEEDS, st.integers(1, 40), st.integers(2, 5))
def test_confusion_counts_true_classes_in_rows(seed: int, count: int, classes: int) -> None:
    logits, labels = rows(seed, count, classes)
    predicted = logits.argmax(axis=1)
    matrix = confusion_counts(predicted, labels, classes).tolist()
    assert (
        matrix
        == multiclass_confusion_matrix(
            torch.from_numpy(predicted), torch.from_numpy(labels), num_classes=classes
        ).tolist()
    )
    assert sum(map(sum, matrix)) == count


def test_confusion_is_not_its_transpose() -> None:
    assert confusion_counts(np.asarray([1, 1, 0]), np.asarray([0, 0, 0]), 2).tolist() == [[1, 2], [0, 0]]


def test_a_perfect_model_scores_one() -> None:
    labels = np.asarray([0, 1, 2, 1])
    found = classification_metrics(np.eye(3, dtype=np.float32)[labels] * 50, labels)
    assert (found["accuracy"], found["f1"], found["mcc"]) == (1, 1, 1)
    assert found["loss"] == pytest.approx(0, abs=1e-9)


def test_a_constant_guess_has_no_correlation() -> None:
    assert classification_metrics(np.asarray([[1.0, 0.0]] * 4, np.float32), np.asarray([0, 1, 0, 1]))["mcc"] == 0


def test_a_class_that_no_row_has_does_not_lower_f1() -> None:
    logits = np.asarray([[9, 0, 0], [0, 9, 0]], np.float32)
    assert classification_metrics(logits, np.asarray([0, 1]))["f1"] == 1


def test_large_logits_have_a_finite_loss() -> None:
    found = classification_metrics(np.asarray([[1e4, -1e4], [-1e4, 1e4]], np.float32), np.asarray([0, 0]))
    assert found["loss"] == pytest.approx(1e4)
