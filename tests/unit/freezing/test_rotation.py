from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.freezing.test_schedule import freezing, resolved
from tests.unit.freezing.test_selectors import layout_of
from thaw_api.training import TrainingSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.progress import Plan, Progress, after_steps, steps_to_go
from thaw_trainer.freezing.rotation import Rotation
from thaw_trainer.freezing.schedule import Phase, resolve_schedule
from thaw_trainer.freezing.triggers import Length


def turning(blocks: int = 4, at_a_time: int = 1, order: str = "random", seed: int = 0, **fields: Any) -> Phase:
    rotate = {"blocks": at_a_time, "every": {"steps": 2}, "order": order, **fields.pop("rotate", {})}
    phase = {"name": "p", "train": ["all"], "until": {"fraction": 1.0}, "rotate": rotate, **fields}
    training = TrainingSpec.model_validate({"seed": seed, "epochs": 5})
    (found,) = resolve_schedule(freezing(phases=[phase]), training, layout_of(blocks))
    return found


def rotation(**fields: Any) -> Rotation:
    found = turning(**fields).rotation
    assert found is not None
    return found


def numbers(turns: int, **fields: Any) -> list[list[int]]:
    found = rotation(**fields)
    return [found.numbers_in(turn) for turn in range(turns)]


def test_blocks_ascend_or_descend_and_begin_again() -> None:
    assert numbers(6, order="ascending") == [[0], [1], [2], [3], [0], [1]]
    assert numbers(5, order="descending") == [[3], [2], [1], [0], [3]]
    assert numbers(4, order="ascending", blocks=5, at_a_time=2) == [[0, 1], [2, 3], [4, 0], [1, 2]]


SIZES = st.integers(1, 16).flatmap(lambda blocks: st.tuples(st.just(blocks), st.integers(1, blocks)))
ORDERS = st.sampled_from(["random", "shuffled", "ascending", "descending"])


@given(SIZES, ORDERS, st.integers(0, 1000), st.integers(0, 100000))
def test_a_turn_is_a_function_of_seed_and_number_and_has_so_many_different_blocks(
    sizes: tuple[int, int], order: str, seed: int, turn: int
) -> None:
    blocks, at_a_time = sizes
    found = rotation(blocks=blocks, at_a_time=at_a_time, order=order, seed=seed).numbers_in(turn)
    assert len(set(found)) == len(found) == at_a_time
    assert set(found) <= set(range(blocks))
    assert rotation(blocks=blocks, at_a_time=at_a_time, order=order, seed=seed).numbers_in(turn) == found


@given(SIZES, st.integers(0, 1000), st.integers(0, 20))
def test_shuffled_has_every_block_in_each_cycle(sizes: tuple[int, int], seed: int, cycle: int) -> None:
    blocks, at_a_time = sizes
    turns = -(-blocks // at_a_time)
    found = rotation(blocks=blocks, at_a_time=at_a_time, order="shuffled", seed=seed)
    cycled = [number for turn in range(cycle * turns, (cycle + 1) * turns) for number in found.numbers_in(turn)]
    assert set(cycled) == set(range(blocks))
    if blocks % at_a_time == 0:
        assert len(cycled) == blocks


def test_random_draws_every_block_about_as_often() -> None:
    drawn = Counter(number for turn in numbers(4000, blocks=8, at_a_time=2) for number in turn)
    assert all(abs(drawn[number] - 1000) < 5 * (4000 * 0.25 * 0.75) ** 0.5 for number in range(8))


def test_another_seed_has_other_turns() -> None:
    for order in ("random", "shuffled"):
        assert numbers(20, order=order, blocks=8, seed=1) != numbers(20, order=order, blocks=8, seed=2)


def test_stem_and_head_are_trained_in_every_turn_where_the_phase_has_them() -> None:
    found = rotation(order="ascending")
    assert found.always == {"embed.weight", "embed.norm", "head.weight", "head.bias"}
    assert found.trained_in(1) == found.always | {name for name in turning().train if name.startswith("layers.1.")}
    (without,) = resolved({"train": ["blocks"], "rotate": {"blocks": 1, "every": {"steps": 1}}})
    assert without.rotation is not None
    assert without.rotation.always == frozenset()


def test_always_takes_tensors_of_blocks_out_of_the_turns() -> None:
    found = rotation(order="ascending", rotate={"always": ["blocks[3]", "biases"]})
    assert len(found.blocks) == 3
    assert {"layers.3.weight", "layers.0.bias"} <= found.always
    assert "layers.0.weight" in found.trained_in(0) - found.trained_in(1)


def test_turns_are_over_the_blocks_that_the_phase_selects() -> None:
    (phase,) = resolved({"train": ["head", "blocks[-2:]"], "rotate": {"blocks": 1, "every": {"steps": 1}}})
    assert phase.rotation is not None
    trained = frozenset().union(*(phase.rotation.trained_in(turn) for turn in range(50)))
    assert trained == phase.train


def test_more_blocks_a_turn_than_there_are_is_refused() -> None:
    with pytest.raises(TrainerError, match="3 blocks a turn, but the phase has 2 to choose from") as caught:
        resolved({"train": ["head"]}, {"train": ["blocks[:2]"], "rotate": {"blocks": 3, "every": {"steps": 1}}})
    assert (caught.value.reason, caught.value.field) == (SCHEDULE_INVALID, "spec.freezing.phases[1].rotate")


def test_a_phase_without_blocks_has_nothing_to_rotate() -> None:
    with pytest.raises(TrainerError, match="has 0 to choose from"):
        resolved({"train": ["head"], "rotate": {"blocks": 1, "every": {"steps": 1}}})


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["steps", "epochs"]))
def test_turns_follow_each_other_by_steps_whatever_epochs_do(every: int, steps_per_epoch: int, unit: str) -> None:
    phase = turning(rotate={"every": {unit: every}})
    plan = Plan((phase,), Length(5, steps_per_epoch), "accuracy", "max", {})
    progress, turns = Progress(), list[int]()
    while progress.step < plan.length.steps:
        count = steps_to_go(progress, plan)
        turns += [plan.turn(progress)] * count
        progress, move = after_steps(progress, count, plan)
        assert move == "continue"
    length = every if unit == "steps" else every * steps_per_epoch
    assert turns == [step // length for step in range(plan.length.steps)]


def test_turns_are_counted_from_the_phases_start() -> None:
    first = turning(until={"steps": 3}, rotate={"every": {"steps": 5}})
    plan = Plan((first, turning()), Length(5, 10), "accuracy", "max", {})
    assert plan.turn(Progress(step=3, phase=1, phase_began=3)) == 0
    assert plan.turn(Progress(step=5, phase=1, phase_began=3)) == 1


def test_moments_wait_for_what_a_rotation_takes_out_only_where_they_are_kept() -> None:
    keep, fresh = turning(optimizerState="keep"), turning(optimizerState="fresh")
    assert keep.with_moments(0) == keep.train
    assert fresh.with_moments(0) == fresh.trained_in(0) < fresh.train
