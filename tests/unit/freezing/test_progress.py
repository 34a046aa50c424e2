from __future__ import annotations

import json
from math import ceil, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.training import EarlyStoppingSpec
from thaw_api.triggers import UntilSpec
from thaw_trainer.freezing.progress import (
    Move,
    Plan,
    Progress,
    Watch,
    after_epoch,
    after_steps,
    longest_phase,
    steps_to_go,
)
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length

STEPS = 7
"""Optimizer steps of an epoch."""


def plan(*untils: dict[str, Any], epochs: int = 100, stopping: dict[str, Any] | None = None) -> Plan:
    phases = [
        Phase(f"p{index}", frozenset(), UntilSpec.model_validate(until), {}) for index, until in enumerate(untils)
    ]
    early = EarlyStoppingSpec.model_validate(stopping) if stopping is not None else None
    return Plan(tuple(phases), Length(epochs, STEPS), "accuracy", "max", {"accuracy": "max", "loss": "min"}, early)


def epoch(progress: Progress, metrics: dict[str, float], run: Plan, seconds: float = 0.0) -> tuple[Progress, Move]:
    """The progress after an epoch in which no phase ends by its steps."""
    assert steps_to_go(progress, run) == STEPS
    progress, move = after_steps(progress, STEPS, run)
    assert move == "continue"
    return after_epoch(progress, metrics, run, seconds)


def moves(plan: Plan, values: list[float], losses: list[float] | None = None) -> tuple[Progress, list[Move]]:
    """The progress after epochs with these accuracies, and the move after each; nothing follows an end."""
    progress, taken = Progress(), list[Move]()
    for value, loss in zip(values, losses or [0.0] * len(values), strict=True):
        progress, move = epoch(progress, {"accuracy": value, "loss": loss}, plan)
        taken.append(move)
        if move == "end":
            break
    return progress, taken


RISING = [index / 1000 for index in range(200)]
GO: Move = "continue"
NEXT: Move = "next-phase"
END: Move = "end"


def test_phases_follow_each_other_by_epochs_and_the_run_ends_with_the_last() -> None:
    _, taken = moves(plan({"epochs": 1}, {"epochs": 2}, {"epochs": 3}), RISING)
    assert taken == [NEXT, GO, NEXT, GO, GO, END]


def test_the_cap_on_epochs_ends_the_run_in_any_phase() -> None:
    progress, taken = moves(plan({"epochs": 2}, {"epochs": 9}, {"epochs": 9}, epochs=4), RISING)
    assert taken == [GO, NEXT, GO, END]
    assert (progress.epoch, progress.phase) == (4, 1)


def test_a_fraction_is_of_the_cap_and_counts_from_the_runs_start() -> None:
    _, taken = moves(plan({"fraction": 0.3}, {"fraction": 0.5}, {"fraction": 1.0}, epochs=10), RISING)
    assert taken == [GO, GO, NEXT, GO, NEXT, GO, GO, GO, GO, END]


def test_a_phase_whose_fraction_is_over_already_still_gets_an_epoch() -> None:
    _, taken = moves(plan({"epochs": 5}, {"fraction": 0.2}, {"fraction": 1.0}, epochs=8), RISING)
    assert taken == [GO, GO, GO, GO, NEXT, NEXT, GO, END]


@given(st.integers(1, 400), st.integers(1, 100))
def test_a_fraction_is_rounded_up_to_whole_epochs_exactly(epochs: int, percent: int) -> None:
    ends = -(-epochs * percent // 100)  # in whole numbers
    _, taken = moves(plan({"fraction": percent / 100}, {"fraction": 1.0}, epochs=epochs), [0.0] * epochs)
    assert taken.index(NEXT if ends < epochs else END) == ends - 1


def test_the_first_trigger_that_holds_ends_the_phase() -> None:
    until = {"epochs": 5, "fraction": 0.5, "plateau": {"patience": 2}}
    assert moves(plan(until, {"epochs": 1}, epochs=6), RISING)[1][:3] == [GO, GO, NEXT]
    assert moves(plan(until, {"epochs": 1}, epochs=100), RISING)[1][:5] == [GO, GO, GO, GO, NEXT]
    assert moves(plan(until, {"epochs": 1}, epochs=100), [0.5] * 9)[1][:3] == [GO, GO, NEXT]


def test_a_plateau_ends_a_phase_after_epochs_without_improvement_in_a_row() -> None:
    values = [0.1, 0.2, 0.2, 0.3, 0.2, 0.3, 0.9]
    _, taken = moves(plan({"plateau": {"patience": 2}}, {"epochs": 1}), values)
    assert taken == [GO, GO, GO, GO, GO, NEXT, END]


def test_an_improvement_below_the_least_change_is_none() -> None:
    values = [0.5, 0.55, 0.6]
    _, taken = moves(plan({"plateau": {"patience": 2, "minDelta": 0.2}}, {"epochs": 1}), values)
    assert taken == [GO, GO, NEXT]


def test_small_improvements_add_up_against_the_best_value_that_counted() -> None:
    values = [0.5, 0.6, 0.7, 0.71]
    _, taken = moves(plan({"plateau": {"patience": 2, "minDelta": 0.15}}, {"epochs": 1}), values)
    assert taken == [GO, GO, GO, GO]


def test_a_plateau_may_watch_another_metric_in_its_own_direction() -> None:
    falling, flat = [0.9, 0.8, 0.7, 0.6], [0.5] * 4
    watched = plan({"plateau": {"metric": "loss", "patience": 1}}, {"epochs": 1})
    assert moves(watched, flat, falling)[1] == [GO, GO, GO, GO]
    assert moves(watched, RISING[:3], [0.5, 0.5, 0.5])[1] == [GO, NEXT, END]


def test_a_plateau_counts_anew_in_each_phase() -> None:
    flat = plan({"plateau": {"patience": 2}}, {"plateau": {"patience": 2}}, {"epochs": 1})
    progress, taken = moves(flat, [0.5, 0.4, 0.3, 0.1])
    assert taken == [GO, GO, NEXT, GO]
    assert progress.plateaus == {"0.0": Watch(0.1, 0)}


def test_early_stopping_waits_for_the_last_phase_and_counts_from_there() -> None:
    stopping = plan({"epochs": 4}, {"epochs": 50}, stopping={"patience": 2})
    _, taken = moves(stopping, [0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1])
    assert taken == [GO, GO, GO, NEXT, GO, GO, END]


def test_early_stopping_starts_over_with_each_improvement() -> None:
    stopping = plan({"fraction": 1.0}, stopping={"patience": 2})
    assert moves(stopping, [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3])[1] == [GO] * 6 + [END]


def test_nan_never_improves() -> None:
    stopping = plan({"fraction": 1.0}, stopping={"patience": 2})
    assert moves(stopping, [nan, nan])[1] == [GO, END]
    assert moves(stopping, [0.1, nan, nan])[1] == [GO, GO, END]
    assert moves(stopping, [nan, 0.1, nan, 0.2])[1] == [GO, GO, GO, GO]


def test_the_best_epoch_is_the_first_of_the_best_over_all_phases() -> None:
    progress, _ = moves(plan({"epochs": 2}, {"epochs": 3}), [0.1, 0.4, 0.3, 0.4, 0.2])
    assert progress.best_epoch == 2
    assert progress.objective.best == 0.4


def test_without_a_value_there_is_no_best_epoch() -> None:
    progress, _ = moves(plan({"epochs": 2}), [nan, nan])
    assert progress.best_epoch == 0


@given(st.lists(st.floats(0, 1) | st.just(nan), min_size=1, max_size=12))
def test_the_best_epoch_is_that_of_the_highest_number(values: list[float]) -> None:
    progress, _ = moves(plan({"fraction": 1.0}), values)
    numbers = [value for value in values if value == value]
    assert progress.best_epoch == (values.index(max(numbers)) + 1 if numbers else 0)


UNTIL = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(1, 6),
        "fraction": st.floats(0.01, 1.0),
        "plateau": st.fixed_dictionaries({"patience": st.integers(1, 3)}),
    },
).filter(bool)


@given(
    st.lists(UNTIL, min_size=1, max_size=4),
    st.integers(1, 12),
    st.lists(st.floats(0, 1), min_size=12, max_size=12),
    st.none() | st.fixed_dictionaries({"patience": st.integers(1, 3)}),
)
def test_whatever_the_schedule_a_run_ends_within_its_cap_and_no_phase_outlasts_its_longest(
    untils: list[dict[str, Any]], epochs: int, values: list[float], stopping: dict[str, Any] | None
) -> None:
    run = plan(*untils, epochs=epochs, stopping=stopping)
    progress, begun, ends = Progress(), 0, list[int]()
    for value in values:
        before = progress
        progress, move = epoch(progress, {"accuracy": value, "loss": 0.0}, run)
        assert progress.epoch == before.epoch + 1
        assert before.phase_step + STEPS <= STEPS * longest_phase(run.phases[before.phase].until, begun, epochs)
        if move == "next-phase":
            assert (progress.phase, progress.phase_step) == (before.phase + 1, 0)
            begun = progress.epoch
        else:
            assert progress.phase == before.phase
        if move == "end":
            ends.append(progress.epoch)
            break
    assert len(ends) == 1
    assert ends[0] <= epochs


@given(st.lists(st.floats(0, 1) | st.just(nan), max_size=8), st.integers(0, 8))
def test_a_progress_that_was_written_down_goes_on_as_if_it_had_not_been(values: list[float], cut: int) -> None:
    run = plan({"plateau": {"patience": 1}}, {"epochs": 2}, {"fraction": 1.0}, stopping={"patience": 2})
    whole, _ = moves(run, values)
    progress, ended = Progress(), False
    for index, value in enumerate(values):
        if index == cut:
            progress = Progress.from_dict(json.loads(json.dumps(progress.as_dict())))
        if not ended:
            progress, move = epoch(progress, {"accuracy": value, "loss": 0.0}, run)
            ended = move == "end"
    assert progress == whole


def test_a_fraction_that_floating_point_makes_a_hair_too_large_is_not_an_epoch_more() -> None:
    assert ceil(0.1 * 3 * 10) == 4
    assert longest_phase(UntilSpec(fraction=0.1 * 3), 0, 10) == 3


def test_when_less_is_better_the_least_is_best() -> None:
    watch = Watch().after(0.5, "min").after(0.4, "min").after(0.45, "min")
    assert watch == Watch(0.4, 1)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_the_number_of_epochs_without_improvement(patience: int) -> None:
    _, taken = moves(plan({"fraction": 1.0}, stopping={"patience": patience}), [0.5] * 9)
    assert len(taken) == 1 + patience
