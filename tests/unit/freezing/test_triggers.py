"""Triggers that count steps, look at metrics or at the clock, and several together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.freezing.test_progress import STEPS, epoch, moves, plan
from thaw_api.triggers import UntilSpec
from thaw_trainer.freezing.progress import Move, Plan, Progress, after_epoch, after_steps, longest_phase, steps_to_go
from thaw_trainer.freezing.triggers import Length, counted_end, longest

GO: Move = "continue"
NEXT: Move = "next-phase"
END: Move = "end"
LAST: dict[str, Any] = {"fraction": 1.0}


def until(**fields: Any) -> UntilSpec:
    return UntilSpec.model_validate(fields)


def phase_of_each_step(run: Plan, metrics: list[dict[str, float]] | None = None) -> list[int]:
    """The phase that each optimizer step of a run is trained in."""
    progress, phases, move = Progress(), list[int](), GO
    for values in metrics or [{"accuracy": 0.0, "loss": 0.0}] * run.length.epochs:
        end = (progress.epoch + 1) * run.length.steps_per_epoch
        while progress.step < end and move != END:
            count = steps_to_go(progress, run)
            assert count > 0
            phases += [progress.phase] * count
            progress, move = after_steps(progress, count, run)
        progress, move = after_epoch(progress, values, run)
        if move == END:
            break
    return phases


def test_a_phase_of_steps_ends_in_mid_epoch_and_the_next_begins_there() -> None:
    run = plan({"steps": 3}, {"steps": 10}, LAST, epochs=3)
    assert phase_of_each_step(run) == [0] * 3 + [1] * 10 + [2] * (3 * STEPS - 13)


def test_epochs_of_a_phase_that_began_in_mid_epoch_are_as_many_steps() -> None:
    run = plan({"steps": 3}, {"epochs": 2}, LAST, epochs=5)
    assert phase_of_each_step(run) == [0] * 3 + [1] * 2 * STEPS + [2] * (3 * STEPS - 3)


def test_a_last_phase_of_steps_ends_the_run() -> None:
    assert len(phase_of_each_step(plan({"epochs": 1}, {"steps": 9}, epochs=9))) == STEPS + 9


def test_steps_that_end_with_an_epoch_are_measured_with_it() -> None:
    progress, move = after_steps(Progress(), STEPS, plan({"steps": STEPS}, LAST, epochs=3))
    assert (progress.phase, move) == (0, GO)
    progress, move = after_epoch(progress, {"accuracy": 0.5, "loss": 0.0}, plan({"steps": STEPS}, LAST, epochs=3))
    assert (progress.phase, progress.phase_step, move) == (1, 0, NEXT)


@given(
    st.lists(
        st.fixed_dictionaries({}, optional={"steps": st.integers(1, 40), "epochs": st.integers(1, 4)}).filter(bool),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 8),
)
def test_counted_phases_are_cut_from_the_runs_steps_one_after_another(
    untils: list[dict[str, Any]], epochs: int
) -> None:
    def expected() -> Iterator[int]:
        for index, each in enumerate(untils):
            lengths = {"steps": 1, "epochs": STEPS}
            yield from [index] * min(count * lengths[unit] for unit, count in each.items())

    assert phase_of_each_step(plan(*untils, epochs=epochs)) == list(expected())[: epochs * STEPS]


def test_a_threshold_ends_a_phase_after_the_epoch_that_is_beyond_it() -> None:
    above = plan({"metric": {"above": 0.5}}, {"epochs": 1})
    assert moves(above, [0.1, 0.5, 0.51, 0.0])[1] == [GO, GO, NEXT, END]
    below = plan({"metric": {"name": "loss", "below": 0.3}}, {"epochs": 1})
    assert moves(below, [0.0] * 4, [0.9, 0.3, 0.2, 0.2])[1] == [GO, GO, NEXT, END]


def test_a_threshold_of_zero_is_one() -> None:
    assert moves(plan({"metric": {"below": 0.0}}, {"epochs": 1}), [0.5, 0.0, -0.1])[1] == [GO, GO, NEXT]


def test_no_number_is_beyond_no_threshold() -> None:
    assert moves(plan({"metric": {"above": 0.1}}, {"epochs": 1}), [float("nan"), 0.2])[1] == [GO, NEXT]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("1m", 60.0), ("1h1m1s", 3661.0)])
def test_a_time_ends_a_phase_after_the_epoch_in_which_it_is_over(text: str, seconds: float) -> None:
    run = plan({"time": text}, {"epochs": 1})
    progress, move = epoch(Progress(), {"accuracy": 0.0, "loss": 0.0}, run, seconds - 1)
    assert move == GO
    progress, move = epoch(progress, {"accuracy": 0.0, "loss": 0.0}, run, 1.0)
    assert move == NEXT
    assert progress.phase_seconds == 0.0


def test_all_holds_when_each_of_its_conditions_does() -> None:
    run = plan({"all": [{"epochs": 3}, {"metric": {"above": 0.5}}]}, {"epochs": 1})
    assert moves(run, [0.9, 0.9, 0.9])[1] == [GO, GO, NEXT]
    assert moves(run, [0.9, 0.9, 0.1, 0.1, 0.6])[1] == [GO, GO, GO, GO, NEXT]


def test_all_stands_beside_the_others_as_one_of_any() -> None:
    run = plan({"epochs": 4, "all": [{"epochs": 2}, {"plateau": {"patience": 1}}]}, {"epochs": 1})
    assert moves(run, [0.1, 0.2, 0.3, 0.4])[1] == [GO, GO, GO, NEXT]
    assert moves(run, [0.2, 0.1, 0.1])[1] == [GO, NEXT, END]


def test_plateaus_of_two_metrics_count_apart() -> None:
    both = plan({"all": [{"plateau": {}}, {"plateau": {"metric": "loss", "patience": 2}}]}, {"epochs": 1})
    assert moves(both, [0.5, 0.5, 0.5, 0.5], [0.9, 0.8, 0.8, 0.8])[1] == [GO, GO, GO, NEXT]
    assert moves(both, [0.1, 0.2, 0.3, 0.4], [0.9, 0.9, 0.9, 0.9])[1] == [GO, GO, GO, GO]


def test_all_of_steps_only_ends_in_mid_epoch_at_the_last_of_them() -> None:
    run = plan({"all": [{"steps": 3}, {"steps": 5}]}, LAST, epochs=2)
    assert phase_of_each_step(run) == [0] * 5 + [1] * (2 * STEPS - 5)


def test_all_of_steps_and_a_metric_waits_for_the_epoch() -> None:
    run = plan({"all": [{"steps": 3}, {"metric": {"above": 0.0}}]}, LAST, epochs=2)
    assert phase_of_each_step(run, [{"accuracy": 1.0, "loss": 0.0}] * 2) == [0] * STEPS + [1] * STEPS


def test_a_phase_whose_fraction_is_over_when_it_begins_has_the_rest_of_its_epoch() -> None:
    run = plan({"steps": STEPS + 2}, {"fraction": 0.25, "steps": 30}, LAST, epochs=4)
    assert phase_of_each_step(run) == [0] * (STEPS + 2) + [1] * (STEPS - 2) + [2] * 2 * STEPS


CONDITION = st.one_of(
    st.integers(1, 30).map(lambda steps: {"steps": steps}),
    st.integers(1, 4).map(lambda epochs: {"epochs": epochs}),
    st.floats(0.01, 1.0).map(lambda share: {"fraction": share}),
    st.integers(1, 3).map(lambda patience: {"plateau": {"patience": patience}}),
    st.floats(0.1, 0.9).map(lambda value: {"metric": {"above": value}}),
)


def any_until(conditions: list[dict[str, Any]], together: list[dict[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for condition in conditions:
        fields |= condition
    return fields | ({"all": together} if together else {})


UNTIL = st.builds(any_until, st.lists(CONDITION, max_size=3), st.lists(CONDITION, max_size=3)).filter(bool)


def holds_after_epoch(condition: dict[str, Any], began: int, step: int, seen: list[float], cap: int) -> bool:
    """A condition as the documentation says it, from the phase's own history."""
    best = seen.index(max(seen))
    share = condition.get("fraction", 0.0)
    known: dict[str, Callable[[], bool]] = {
        "steps": lambda: step - began >= condition["steps"],
        "epochs": lambda: step - began >= condition["epochs"] * STEPS,
        "fraction": lambda: step >= ceil(round(share * cap, 9)) * STEPS,
        "metric": lambda: seen[-1] > condition["metric"]["above"],
        "plateau": lambda: len(seen) - 1 - best >= condition["plateau"]["patience"],
    }
    (name,) = condition
    return known[name]()


@given(UNTIL, st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_a_phase_ends_after_the_first_epoch_at_which_its_triggers_hold(
    fields: dict[str, Any], values: list[float]
) -> None:
    run = plan(fields, LAST, epochs=6)
    groups = [[{name: value}] for name, value in fields.items() if name != "all"]
    groups += [fields["all"]] if "all" in fields else []
    metrics = [{"accuracy": value, "loss": 0.0} for value in values]
    trained = phase_of_each_step(run, metrics)
    assert len(trained) == 6 * STEPS
    lasted = trained.count(0)
    for index in range(6):
        step = (index + 1) * STEPS
        over = any(all(holds_after_epoch(each, 0, step, values[: index + 1], 6) for each in group) for group in groups)
        if over:
            assert lasted <= step
            break
        assert lasted > step or index == 5
    if lasted % STEPS:
        assert lasted == counted_end(until(**fields), 0, run.length)


@given(UNTIL, st.integers(0, 5 * STEPS), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_no_phase_outlasts_its_longest(fields: dict[str, Any], began: int, values: list[float]) -> None:
    before = {"steps": began} if began else {"steps": 1}
    run = plan(before, fields, LAST, epochs=6)
    trained = phase_of_each_step(run, [{"accuracy": value, "loss": 0.0} for value in values])
    start = began or 1
    assert trained.count(1) <= longest(until(**fields), start, run.length)


@given(UNTIL, st.integers(0, 5))
def test_epochs_are_at_least_as_long_where_their_steps_are_not_known(fields: dict[str, Any], start: int) -> None:
    known = longest_phase(until(**fields), start, 6, STEPS)
    assert 1 <= known <= longest_phase(until(**fields), start, 6) <= 6 - start


@given(st.lists(UNTIL, min_size=1, max_size=3), st.lists(st.floats(0, 1), min_size=6, max_size=6), st.integers(0, 5))
def test_a_progress_that_was_written_down_within_a_phase_goes_on(
    untils: list[dict[str, Any]], values: list[float], cut: int
) -> None:
    run = plan(*untils, LAST, epochs=6)

    def walk(cut: int | None) -> list[Progress]:
        progress, seen, move = Progress(), list[Progress](), GO
        for index, value in enumerate(values):
            if index == cut:
                progress = Progress.from_dict(json.loads(json.dumps(progress.as_dict())))
            while progress.step < (index + 1) * STEPS:
                progress, move = after_steps(progress, steps_to_go(progress, run), run)
            progress, move = after_epoch(progress, {"accuracy": value, "loss": 0.0}, run, seconds=1.5)
            seen.append(progress)
            if move == END:
                break
        return seen

    assert walk(cut) == walk(None)


def test_a_length_counts_steps() -> None:
    length = Length(3, 10)
    assert (length.steps, length.epoch_end(0), length.epoch_end(9), length.epoch_end(10)) == (30, 10, 10, 20)
