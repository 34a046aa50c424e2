"""Labels that are likely wrong, on real data with planted errors."""

from __future__ import annotations

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from thaw_trainer.evaluation.label_errors import cross_validated_shares, find_label_errors, listed_errors


def digits_with_errors(share: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, labels of which a share is wrong, and which are."""
    pixels, right = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    wrong = np.zeros(len(right), dtype=bool)
    wrong[random.choice(len(right), int(share * len(right)), replace=False)] = True
    labels = np.where(wrong, (right + random.integers(1, 10, len(right))) % 10, right)
    return pixels.astype(np.float32), labels.astype(np.int64), wrong


def test_most_of_the_wrong_labels_are_at_the_top_of_the_list() -> None:
    pixels, labels, wrong = digits_with_errors()
    found = find_label_errors(cross_validated_shares(pixels, labels, 10), labels)
    top = found.order[: int(np.ceil(0.05 * len(labels)))]
    assert wrong[top].sum() > 0.8 * wrong.sum()
    assert found.count == pytest.approx(wrong.sum(), rel=0.5)


def test_rows_are_ranked_and_counted_as_cleanlab_does() -> None:
    pixels, labels, _ = digits_with_errors()
    shares = cross_validated_shares(pixels, labels, 10)
    found = find_label_errors(shares, labels)
    quality = get_label_quality_scores(labels, shares, method="self_confidence")
    assert found.order.tolist() == np.argsort(quality, kind="stable").tolist()
    assert found.count == find_label_issues(labels, shares, filter_by="confident_learning").sum()


def test_shares_are_as_good_as_those_of_another_logistic_regression() -> None:
    pixels, labels, _ = digits_with_errors()
    own = cross_validated_shares(pixels, labels, 10)
    assert own.sum(1) == pytest.approx(np.ones(len(labels)))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    theirs = cross_val_predict(model, pixels, labels, cv=folds, method="predict_proba")
    rows = np.arange(len(labels))
    losses = [-np.log(np.maximum(each[rows, labels], 1e-12)).mean() for each in (own, theirs)]
    assert losses[0] < losses[1] * 1.05


def test_a_row_is_an_error_when_another_class_reaches_its_threshold() -> None:
    """Thresholds, the mean own shares: class 0: (0.9 + 0.2) / 2 = 0.55; class 1: 0.8. The second row has 0.8 of
    class 1 and is an error; the fourth has less of class 0 than its threshold and is none."""
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
    found = find_label_errors(shares, np.array([0, 0, 1, 1]))
    assert found.count == 1
    assert found.order.tolist() == [1, 3, 0, 2]


def test_what_is_listed_names_row_label_and_what_is_said_instead() -> None:
    pixels, labels, wrong = digits_with_errors()
    ids = np.arange(1000, 1000 + len(labels))
    names = [f"digit {number}" for number in range(10)]
    told = listed_errors(pixels, labels, ids, names, 7)
    assert told["rows"] == len(labels)
    assert len(told["listed"]) == 7
    first = told["listed"][0]
    assert first["label"] == names[labels[first["row"] - 1000]]
    assert first["said"] != first["label"]
    assert first["share"] < first["saidShare"]
    assert wrong[first["row"] - 1000]


def test_a_class_of_one_row_is_no_trouble() -> None:
    pixels, labels, _ = digits_with_errors()
    few = labels.copy()
    few[:] = labels % 2
    few[5] = 2
    assert find_label_errors(cross_validated_shares(pixels, few, 3), few).order.tolist().index(5) < 20
