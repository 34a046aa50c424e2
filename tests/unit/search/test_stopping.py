from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler

from thaw_api.search import SchedulerSpec
from thaw_trainer.search.stopping import NeverStop, StoppingRule, stopping_rule


def asha(epochs: int = 9, first_phase: int = 1, mode: Any = "max", **fields: Any) -> StoppingRule:
    spec = SchedulerSpec.model_validate({"name": "asha", **fields})
    return stopping_rule(spec, mode, epochs, first_phase)


def test_without_a_scheduler_nothing_is_stopped() -> None:
    rule = stopping_rule(SchedulerSpec(), "max", 9, 1)
    assert isinstance(rule, NeverStop)
    assert all(rule.may_go_on(ordinal, 1, -ordinal) for ordinal in range(20))


def test_at_a_rung_a_trial_that_is_not_among_the_best_third_is_stopped() -> None:
    rule = asha()
    assert [rule.may_go_on(ordinal, 1, value) for ordinal, value in enumerate([0.5, 0.6, 0.7, 0.4, 0.9, 0.55])] == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]


def test_between_rungs_nothing_is_stopped() -> None:
    rule = asha()
    for ordinal in range(5):
        rule.may_go_on(ordinal, 1, 0.5)
    assert rule.may_go_on(0, 2, -9.0)
    assert rule.may_go_on(1, 3, 0.9)
    assert not rule.may_go_on(2, 3, 0.1)


def test_every_trial_gets_the_first_phase() -> None:
    rule = asha(first_phase=3)
    values = [0.9, 0.8, 0.1, 0.1, 0.1]
    assert all(rule.may_go_on(ordinal, epoch, value) for epoch in (1, 2) for ordinal, value in enumerate(values))
    assert [rule.may_go_on(ordinal, 3, value) for ordinal, value in enumerate(values)] == [
        True,
        False,
        False,
        False,
        False,
    ]


def test_the_manifests_grace_wins_over_the_first_phase() -> None:
    rule = asha(first_phase=3, graceEpochs=1)
    assert rule.may_go_on(0, 1, 0.9)
    assert not rule.may_go_on(1, 1, 0.1)


def test_a_grace_beyond_the_last_epoch_stops_nothing_before_it() -> None:
    rule = asha(epochs=2, graceEpochs=50)
    assert all(rule.may_go_on(ordinal, 1, -ordinal) for ordinal in range(9))


def test_where_less_is_better_the_highest_are_stopped() -> None:
    rule = asha(mode="min")
    assert [rule.may_go_on(ordinal, 1, value) for ordinal, value in enumerate([0.5, 0.9, 0.2])] == [True, False, True]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1)), min_size=1, max_size=80),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(2, 4),
    st.sampled_from(["max", "min"]),
)
def test_what_is_stopped_is_what_ray_tunes_own_asha_stops(
    results: list[tuple[int, float]], epochs: int, grace: int, factor: int, mode: str
) -> None:
    """Ray's scheduler is driven as Tune does: trials are added when they begin, each result in order of time."""
    rays = AsyncHyperBandScheduler(
        time_attr="training_iteration",
        metric="objective",
        mode=mode,
        max_t=epochs + 1,
        grace_period=min(grace, epochs),
        reduction_factor=factor,
        stop_last_trials=False,
    )
    ours = asha(epochs, mode=mode, graceEpochs=grace, reductionFactor=factor)
    trials: dict[int, Any] = {}
    done: dict[int, int] = {}
    for ordinal, value in results:
        if done.get(ordinal, 0) < 0 or done.get(ordinal, 0) >= epochs:
            continue
        done[ordinal] = done.get(ordinal, 0) + 1
        if ordinal not in trials:
            trials[ordinal] = SimpleNamespace(trial_id=f"ray-{ordinal}")
            rays.on_trial_add(None, trials[ordinal])
        result = {"training_iteration": done[ordinal], "objective": value}
        expected = rays.on_trial_result(None, trials[ordinal], result) != "STOP"
        assert ours.may_go_on(ordinal, done[ordinal], value) == expected
        if not expected:
            done[ordinal] = -1


@given(st.permutations(range(6)), st.lists(st.floats(0, 1), min_size=6, max_size=6, unique=True))
@settings(deadline=None)
def test_a_rule_that_saw_the_same_results_again_decides_alike(order: list[int], values: list[float]) -> None:
    first, second = asha(), asha()
    assert [first.may_go_on(ordinal, 1, values[ordinal]) for ordinal in order] == [
        second.may_go_on(ordinal, 1, values[ordinal]) for ordinal in order
    ]
    assert first.may_go_on(6, 1, 0.5) == second.may_go_on(6, 1, 0.5)


@pytest.mark.parametrize("times", [1, 3])
def test_a_result_that_is_told_again_counts_once(times: int) -> None:
    rule = asha()
    for _ in range(times):
        rule.may_go_on(0, 1, 0.1)
    rule.may_go_on(1, 1, 0.9)
    rule.may_go_on(2, 1, 0.8)
    assert not rule.may_go_on(3, 1, 0.5)
