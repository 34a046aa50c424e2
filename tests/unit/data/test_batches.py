from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.data.batches import BatchPlan, length_classes, merge_rare_classes, plan_batches, plan_epoch

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=120)
SIZES = st.sampled_from([1, 4, 8, 24])


def counted(plans: list[BatchPlan]) -> list[int]:
    """Rows that count, in the order of the batches."""
    return [int(row) for plan in plans for row in plan.rows[: plan.filled]]


def width_of(length: int, widths: list[int]) -> int:
    return min(width for width in widths if width >= length)


@given(st.integers(1, 5000))
def test_length_classes_climb_to_the_longest_row_and_waste_little(longest: int) -> None:
    widths = length_classes(longest).tolist()
    assert widths == sorted(set(widths))
    assert widths[0] > 0
    assert widths[-1] == longest
    assert all(width % 8 == 0 for width in widths[:-1])
    steps = np.diff([0, *widths])
    assert all(step <= max(8, below / 4) for step, below in zip(steps, [0, *widths[:-1]], strict=True))


def test_length_classes_are_few() -> None:
    few = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512]
    assert length_classes(512).tolist() == few


@given(LENGTHS, st.integers(1, 40))
def test_every_class_but_the_longest_has_enough_rows_and_fits_what_it_holds(lengths: list[int], fewest: int) -> None:
    every = length_classes(max(lengths))
    widths = merge_rare_classes(every, lengths, fewest).tolist()
    held = Counter(width_of(length, widths) for length in lengths)
    assert all(held[width] >= fewest for width in widths[:-1])
    assert widths[-1] == max(lengths)
    assert set(widths) <= set(every.tolist())


def test_a_rare_length_joins_the_next_longer_class() -> None:
    lengths = [5] * 40 + [30] * 3 + [60] * 40 + [200]
    assert merge_rare_classes(length_classes(200), lengths, 32).tolist() == [8, 64, 200]


@given(LENGTHS, SIZES, st.integers(0, 99), st.integers(0, 9))
def test_an_epoch_has_each_row_once_in_batches_of_one_size(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    widths = length_classes(max(lengths))
    plans = plan_epoch(lengths, widths, size, (seed, epoch))
    assert sorted(counted(plans)) == list(range(len(lengths)))
    assert all(len(plan.rows) == size and 1 <= plan.filled <= size for plan in plans)
    assert len(plans) == len(plan_batches(lengths, widths, size))


@given(LENGTHS, SIZES, st.integers(0, 99))
def test_a_rows_padded_length_is_a_function_of_the_row(lengths: list[int], size: int, seed: int) -> None:
    widths = length_classes(max(lengths))
    for plan in [*plan_epoch(lengths, widths, size, (seed, 0)), *plan_batches(lengths, widths, size)]:
        assert {width_of(lengths[row], widths.tolist()) for row in plan.rows} == {plan.width}


@given(LENGTHS, SIZES)
def test_evaluation_reads_each_row_once_in_order_of_length_class(lengths: list[int], size: int) -> None:
    plans = plan_batches(lengths, length_classes(max(lengths)), size)
    assert sorted(counted(plans)) == list(range(len(lengths)))
    assert [plan.width for plan in plans] == sorted(plan.width for plan in plans)


@given(LENGTHS, st.integers(0, 99), st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (4, 2), (3, 8)]))
def test_parts_over_workers_and_accumulation_tile_the_batch(
    lengths: list[int], seed: int, shape: tuple[int, int]
) -> None:
    accumulation, world = shape
    for plan in plan_epoch(lengths, length_classes(max(lengths)), 24, (seed, 0)):
        parts = [
            plan.part(accumulated * world + rank, accumulation * world)
            for accumulated in range(accumulation)
            for rank in range(world)
        ]
        assert np.array_equal(np.concatenate([part.rows for part in parts]), plan.rows)
        assert len({len(part.rows) for part in parts}) == 1
        assert {part.width for part in parts} == {plan.width}
        assert counted(parts) == counted([plan])


def test_epochs_are_in_different_orders_and_a_seed_repeats_one() -> None:
    lengths = [5] * 64

    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(counted(plan_epoch(lengths, length_classes(5), 8, (seed, epoch))))

    assert order(0, 1) == order(0, 1)
    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


def test_rows_meet_other_rows_in_each_epoch() -> None:
    met = Counter(
        frozenset((int(first), int(second)))
        for epoch in range(20)
        for plan in plan_epoch([5] * 16, length_classes(5), 2, (0, epoch))
        for first, second in [plan.rows]
    )
    assert max(met.values()) < 10
