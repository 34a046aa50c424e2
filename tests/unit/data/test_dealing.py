"""Tokens per batch: as many rows as fit, for every worker as many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.training import TrainingSpec
from thaw_trainer.data.batches import BatchPlan, length_classes, rows_by_class
from thaw_trainer.data.dealing import Dealer

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=120)
TOKENS = st.one_of(st.none(), st.integers(8, 4000))
SHAPES = st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (4, 2), (3, 8)])
"""Accumulated parts and workers."""
ROWS = 48


def dealer(lengths: list[int], accumulation: int, tokens: int | None) -> Dealer:
    training = TrainingSpec(batch_size=ROWS, gradient_accumulation=accumulation)
    return Dealer(np.asarray(lengths, dtype=np.int32), length_classes(max(lengths)), training, tokens)


def counted(plans: list[BatchPlan]) -> list[int]:
    return [int(row) for plan in plans for row in plan.rows[: plan.filled]]


@given(LENGTHS, TOKENS, SHAPES, st.integers(0, 9))
def test_an_epoch_has_each_row_once_and_as_many_rows_for_every_worker(
    lengths: list[int], tokens: int | None, shape: tuple[int, int], epoch: int
) -> None:
    accumulation, world = shape
    own = dealer(lengths, accumulation, tokens)
    by_worker = [own.epoch(epoch, rank, world) for rank in range(world)]
    assert sorted(row for plans in by_worker for row in counted(plans)) == list(range(len(lengths)))
    assert {len(plans) for plans in by_worker} == {own.steps_per_epoch(world) * accumulation}
    for together in zip(*by_worker, strict=True):
        assert len({(len(plan.rows), plan.width) for plan in together}) == 1
    assert counted(own.training_sweep(world)) == counted(dealer(lengths, 1, None).training_sweep(1))


@given(LENGTHS, st.integers(8, 4000), SHAPES)
def test_no_step_has_more_tokens_unless_a_row_for_each_part_has(
    lengths: list[int], tokens: int, shape: tuple[int, int]
) -> None:
    accumulation, world = shape
    parts = accumulation * world
    own = dealer(lengths, accumulation, tokens)
    plans = [own.epoch(0, rank, world) for rank in range(world)]
    for step in range(own.steps_per_epoch(world)):
        of_step = [each for worker in plans for each in worker[step * accumulation : (step + 1) * accumulation]]
        rows = sum(len(plan.rows) for plan in of_step)
        assert rows % parts == 0
        assert rows <= ROWS
        assert rows * of_step[0].width <= tokens or rows == parts
        more = (rows + parts) * of_step[0].width
        assert rows in (ROWS, parts) or more > tokens, "another row for each part would have fitted"


@given(LENGTHS, TOKENS, SHAPES)
def test_a_sweeps_batches_are_as_large_as_a_workers(
    lengths: list[int], tokens: int | None, shape: tuple[int, int]
) -> None:
    accumulation, world = shape
    own = dealer(lengths, accumulation, tokens)
    sizes = {plan.width: len(plan.rows) for plan in own.epoch(0, 0, world)}
    assert {plan.width: len(plan.rows) for plan in own.training_sweep(world)} == sizes


@given(LENGTHS, TOKENS, SHAPES)
def test_what_is_measured_has_each_row_once_and_no_more_tokens_than_a_worker_trains_on(
    lengths: list[int], tokens: int | None, shape: tuple[int, int]
) -> None:
    accumulation, world = shape
    plans = dealer(lengths, accumulation, tokens).evaluation_sweep(world)
    assert sorted(counted(plans)) == list(range(len(lengths)))
    own = 10**9 if tokens is None else tokens // (accumulation * world)
    assert all(len(plan.rows) * plan.width <= own or len(plan.rows) == 1 for plan in plans)


@pytest.mark.parametrize(
    ("most", "parts", "tokens", "rows"),
    [(32, 1, None, [32, 32, 32]), (32, 1, 1024, [32, 16, 2]), (32, 4, 1024, [32, 16, 4]), (8, 2, 600, [8, 8, 2])],
)
def test_rows_by_class(most: int, parts: int, tokens: int | None, rows: list[int]) -> None:
    assert rows_by_class(np.asarray([16, 64, 512]), most, parts, tokens).tolist() == rows
