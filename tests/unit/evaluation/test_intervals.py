"""Bootstrap intervals of metrics."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.evaluation.intervals import draws_for, intervals
from thaw_trainer.tasks.protocol import Predictions


def rows(count: int, hits: int) -> Predictions:
    return {"id": np.arange(count) * 3, "hit": np.arange(count) < hits}


def accuracy(predictions: Predictions) -> dict[str, float]:
    return {"accuracy": float(predictions["hit"].mean())}


def test_an_interval_is_that_of_scipys_bootstrap() -> None:
    found = intervals(rows(400, 300), accuracy, 10**9)["accuracy"]
    theirs = scipy.stats.bootstrap(
        (np.arange(400) < 300,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_it_holds_what_is_true_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        drawn = {"id": np.arange(200), "hit": random.random(200) < 0.7}
        low, high = intervals(drawn, accuracy, 2 * 200 * 400)["accuracy"]
        inside += low <= 0.7 <= high
    assert 88 <= inside <= 100


def test_the_same_rows_give_the_same_interval_and_more_rows_a_narrower_one() -> None:
    assert intervals(rows(50, 20), accuracy, 10**9) == intervals(rows(50, 20), accuracy, 10**9)
    few, many = (intervals(rows(count, count // 2), accuracy, 10**9)["accuracy"] for count in (50, 5000))
    assert many[1] - many[0] < (few[1] - few[0]) / 5


@given(st.integers(1, 10**7), st.integers(0, 10**9))
def test_draws_keep_to_their_budget_and_are_enough_or_none(count: int, budget: int) -> None:
    draws = draws_for(count, budget)
    assert draws == 0 or (200 <= draws <= 1000 and draws * count <= budget)


def test_no_interval_where_there_are_too_many_rows_or_a_draw_has_no_value() -> None:
    assert intervals(rows(1000, 500), accuracy, 2 * 1000 * 199) == {}
    assert intervals(rows(10, 5), lambda _: {"accuracy": 1.0, "pearson": float("nan")}, 10**9) == {
        "accuracy": (1.0, 1.0)
    }


def test_the_rows_of_an_example_are_drawn_together() -> None:
    pieces = {"id": np.repeat(np.arange(40), 10), "hit": np.repeat(np.arange(40) < 20, 10)}
    whole = intervals(rows(40, 20), accuracy, 10**9)["accuracy"]
    shuffled = np.random.default_rng(0).permutation(400)
    apart = intervals({name: column[shuffled] for name, column in pieces.items()}, accuracy, 10**9)["accuracy"]
    assert apart == pytest.approx(whole)
