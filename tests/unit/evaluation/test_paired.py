"""The difference of two classifiers on the same rows, beside what theory says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thaw_trainer.evaluation.paired import accuracy_difference, right_rows


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    random = np.random.default_rng(0)
    own = random.random(3000) < 0.8
    other = np.where(random.random(3000) < 0.9, own, ~own)
    gains = own.astype(float) - other
    error = gains.std() / np.sqrt(len(gains))
    found = accuracy_difference(own, other)
    assert found.value == pytest.approx(own.mean() - other.mean())
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)


def test_two_that_are_right_on_the_same_rows_do_not_differ() -> None:
    """Intervals of each by itself would overlap for any pair of such accuracies."""
    own = np.random.default_rng(0).random(200) < 0.7
    found = accuracy_difference(own, own)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_predictions_are_read_by_row(tmp_path: Path) -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], dtype=np.float32)
    np.savez(tmp_path / "p.npz", id=np.array([7, 2, 9]), label=np.array([1, 1, 1]), logits=logits)
    assert right_rows(tmp_path / "p.npz") == {(7, 1): True, (2, 1): False, (9, 1): True}
    np.savez(tmp_path / "q.npz", id=np.array([7]), predicted=np.array([0.5]))
    assert right_rows(tmp_path / "q.npz") is None
    assert right_rows(tmp_path / "none.npz") is None
    (tmp_path / "torn.npz").write_bytes((tmp_path / "p.npz").read_bytes()[:60])
    assert right_rows(tmp_path / "torn.npz") is None
