"""Freezing driven by gradients."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.freezing.test_schedule import resolved
from thaw_api.freezing import IntervalSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.adaptive import Adaptive
from thaw_trainer.freezing.progress import Plan, Progress, after_interval, after_steps, steps_to_go
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length


def adaptive(places: int = 4, percentile: float = 50.0, rest: bool = True) -> Adaptive:
    names = tuple(frozenset({f"layers.{number}"}) for number in range(places))
    return Adaptive(names, rest, percentile, IntervalSpec(steps=3))


@pytest.mark.parametrize(
    ("frozen", "before", "now", "expected"),
    [
        # changes 0.1, 0.2, 0.5, 0.9: the half that changes least is at the bottom
        (0, [1, 1, 1, 1], [0.9, 1.2, 0.5, 1.9], 2),
        # the lowest changes most: nothing below it may be frozen
        (0, [1, 1, 1, 1], [1.9, 1.0, 1.0, 1.0], 0),
        # what lies above one that still changes is not frozen
        (0, [1, 1, 1, 1], [1.0, 1.5, 1.0, 1.6], 1),
        # what is frozen has no say
        (2, [0, 0, 2, 2], [0, 0, 2.2, 4], 3),
        (4, [0, 0, 0, 0], [0, 0, 0, 0], 4),
        # a place without gradients that gets some changes without bound
        (0, [0, 1, 1, 1], [1, 1, 1, 1], 0),
        (0, [0, 1, 1, 1], [0, 1, 1, 1], 4),
    ],
)
def test_the_lowest_places_whose_change_is_within_the_percentile_are_frozen(
    frozen: int, before: list[float], now: list[float], expected: int
) -> None:
    assert adaptive().frozen_after(frozen, before, now) == expected


def test_something_is_always_left_to_train() -> None:
    same = [1.0] * 4
    assert adaptive(rest=True).frozen_after(0, same, same) == 4
    assert adaptive(rest=False).frozen_after(0, same, same) == 3
    assert adaptive(rest=False).frozen_after(3, same, same) == 3


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 10)), min_size=1, max_size=8),
    st.floats(0, 100),
    st.integers(0, 8),
)
def test_freezing_only_grows_and_takes_no_more_than_the_percentile_of_distinct_changes(
    norms: list[tuple[float, float]], percentile: float, frozen: int
) -> None:
    before, now = [was for was, _ in norms], [each for _, each in norms]
    frozen = min(frozen, len(norms))
    after = adaptive(len(norms), percentile).frozen_after(frozen, before, now)
    changes = [abs(was - each) / was for was, each in norms][frozen:]
    assert frozen <= after <= len(norms)
    if len(set(changes)) == len(changes) and changes:
        assert after - frozen <= ceil(percentile / 100 * (len(changes) - 1)) + 1
        kept = changes[after - frozen :]
        assert all(change <= max(changes) for change in changes[: after - frozen])
        assert not kept or kept[0] > sorted(changes)[int(percentile / 100 * (len(changes) - 1))] or after == len(norms)


def phase_of(train: list[str], **fields: Any) -> Phase:
    (phase,) = resolved({"train": train, "adaptive": {"every": {"steps": 3}, **fields}})
    return phase


def test_places_are_those_below_the_head_that_the_phase_trains() -> None:
    phase = phase_of(["head", "blocks[1:3]", "stem"])
    assert phase.adaptive is not None
    assert [sorted(place)[0] for place in phase.adaptive.places] == ["embed.norm", "layers.1.bias", "layers.2.bias"]
    assert phase.trained_in(0) == phase.train
    assert phase.trained_in(2) == phase.train - phase.adaptive.places[0] - phase.adaptive.places[1]
    assert phase.trained_in(3) == {"head.weight", "head.bias"}


def test_a_phase_of_the_head_alone_has_nothing_to_freeze() -> None:
    with pytest.raises(TrainerError) as caught:
        phase_of(["head"])
    assert (caught.value.reason, caught.value.field) == (SCHEDULE_INVALID, "spec.freezing.phases[0].adaptive")


def test_the_first_interval_is_only_looked_at() -> None:
    phase = phase_of(["all"])
    plan = Plan((phase,), Length(5, 10), "accuracy", "max", {})
    progress, ends = Progress(), []
    while progress.step < 10:
        progress, _ = after_steps(progress, steps_to_go(progress, plan), plan)
        if plan.ends_interval(progress):
            ends.append(progress.step)
            progress = after_interval(progress, (1.0,) * 5, plan)
            assert plan.turn(progress) == (0 if len(ends) == 1 else 5)
    assert ends == [3, 6, 9]
