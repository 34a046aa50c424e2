from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thaw_trainer.data.splitting import split_by_time, split_rows
from thaw_trainer.errors import SPLIT_INVALID, TrainerError

SHARES = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
SEEDS = st.integers(0, 2**31 - 1)
PARTS = ("train", "validation", "test")


@given(st.integers(60, 300), SHARES, SEEDS)
def test_every_row_is_in_one_part_and_parts_have_their_shares(
    count: int, shares: tuple[float, float], seed: int
) -> None:
    parts = split_rows(count, *shares, seed)
    assert sorted(np.concatenate([parts[name] for name in PARTS])) == list(range(count))
    assert all(first < second for name in PARTS for first, second in pairwise(parts[name]))
    for name, share in zip(PARTS[1:], shares, strict=True):
        assert abs(len(parts[name]) - share * count) < 2


def test_shares_that_are_whole_numbers_of_rows_are_met_exactly() -> None:
    for seed in range(50):
        assert [len(part) for part in split_rows(100, 0.1, 0.2, seed).values()] == [70, 10, 20]


@given(st.lists(st.sampled_from("aaaabbc"), min_size=60, max_size=200), SHARES, SEEDS)
def test_each_stratum_is_held_out_in_proportion(strata: list[str], shares: tuple[float, float], seed: int) -> None:
    counts = Counter(strata)
    assume(min(counts.values()) >= 3)
    parts = split_rows(len(strata), *shares, seed, strata=strata)
    for value, count in counts.items():
        held = sum(strata[row] == value for name in PARTS[1:] for row in parts[name])
        assert abs(held - sum(shares) * count) < 1 + 1e-9
        for name, share in zip(PARTS[1:], shares, strict=True):
            assert abs(sum(strata[row] == value for row in parts[name]) - share * count) < 2 + 1e-9


@given(st.lists(st.integers(1, 9), min_size=40, max_size=60), SHARES, SEEDS, st.booleans())
def test_rows_of_a_group_stay_together_and_parts_have_their_shares(
    sizes: list[int], shares: tuple[float, float], seed: int, with_strata: bool
) -> None:
    groups = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    strata = [str(int(group[1:]) % 3) for group in groups] if with_strata else None
    parts = split_rows(len(groups), *shares, seed, strata=strata, groups=groups)
    homes = defaultdict(set)
    for name in PARTS:
        for row in parts[name]:
            homes[groups[row]].add(name)
    assert all(len(home) == 1 for home in homes.values())
    assert sum(len(parts[name]) for name in PARTS) == len(groups)
    for name, share in zip(PARTS[1:], shares, strict=True):
        assert abs(len(parts[name]) - share * len(groups)) < (6 if with_strata else 3) * max(sizes)


def test_large_groups_are_held_out_as_often_as_small_ones() -> None:
    groups = [f"g{group}" for group in range(40) for _ in range(1 if group < 30 else 10)]
    held = Counter(
        groups.count(groups[row])
        for seed in range(200)
        for row in {groups.index(groups[row]) for row in split_rows(130, 0.1, 0.1, seed, groups=groups)["test"]}
    )
    assert 500 < held[1] < 700
    assert 150 < held[10] < 250


@pytest.mark.parametrize("size", [2, 5, 10])
def test_groups_of_one_size_are_held_out_in_proportion(size: int) -> None:
    """Places on a line of rows would all fall on the same side of a share that divides the size."""
    groups = [f"g{row // size}" for row in range(40 * size)]
    assert [len(part) for part in split_rows(40 * size, 0.1, 0.2, 0, groups=groups).values()] == [
        28 * size,
        4 * size,
        8 * size,
    ]


def test_groups_are_spread_over_strata_too() -> None:
    groups = [f"g{row // 4}" for row in range(400)]
    strata = ["common" if row < 320 else "rare" for row in range(400)]
    for seed in range(20):
        parts = split_rows(400, 0.2, 0.2, seed, strata=strata, groups=groups)
        for name in PARTS[1:]:
            assert sum(strata[row] == "rare" for row in parts[name]) in (12, 16, 20)


def test_a_seed_decides_the_split_and_another_makes_another() -> None:
    def tested(seed: int) -> tuple[int, ...]:
        return tuple(split_rows(200, 0.1, 0.1, seed)["test"].tolist())

    assert tested(3) == tested(3)
    assert len({tested(seed) for seed in range(20)}) == 20


def test_no_row_is_favoured_over_seeds() -> None:
    drawn = Counter(row for seed in range(600) for row in split_rows(30, 0.2, 0.1, seed)["test"].tolist())
    assert set(drawn) == set(range(30))
    assert all(30 <= drawn[row] <= 100 for row in range(30)), "expected 60 each"


def test_what_is_not_held_out_is_empty() -> None:
    parts = split_rows(10, 0.0, 0.3, 0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 7, "validation": 0, "test": 3}


@pytest.mark.parametrize(
    ("count", "shares", "groups", "says"),
    [
        (3, (0.1, 0.1), None, "of 3 rows is none"),
        (1, (0.5, 0.0), None, "of 1 rows is none"),
        (8, (0.1, 0.1), ["a"] * 8, "of 1 groups is none"),
    ],
)
def test_an_empty_part_is_refused(count: int, shares: tuple[float, float], groups: list[str] | None, says: str) -> None:
    with pytest.raises(TrainerError, match=says) as caught:
        split_rows(count, *shares, 0, groups=groups)
    assert (caught.value.reason, caught.value.field) == (SPLIT_INVALID, "spec.data.split")


def test_a_class_with_too_few_rows_to_be_spread_is_named() -> None:
    with pytest.raises(TrainerError, match=r"'rare' \(1\)") as caught:
        split_rows(41, 0.2, 0.2, 0, strata=["common"] * 40 + ["rare"])
    assert (caught.value.reason, caught.value.field) == (SPLIT_INVALID, "spec.data.split.stratifyBy")


def test_a_class_with_a_row_for_each_part_will_do() -> None:
    strata = ["common"] * 40 + ["rare"] * 2
    assert split_rows(42, 0.2, 0.0, 0, strata=strata)


@given(st.lists(st.integers(0, 40), min_size=40, max_size=120), SHARES)
def test_by_time_no_row_is_older_than_one_of_a_split_before_it(values: list[int], shares: tuple[float, float]) -> None:
    times = np.asarray(values, dtype=np.float64)
    try:
        parts = split_by_time(times, *shares)
    except TrainerError as error:
        assume(error.reason != SPLIT_INVALID)
        raise
    assert sorted(np.concatenate([parts[name] for name in PARTS])) == list(range(len(values)))
    for older, newer in pairwise(PARTS):
        assert times[parts[older]].max() < times[parts[newer]].min(), "rows of one time stay together"


def test_by_time_shares_are_met_where_times_differ() -> None:
    parts = split_by_time(np.random.default_rng(0).permutation(100).astype(float), 0.1, 0.2)
    assert [len(parts[name]) for name in PARTS] == [70, 10, 20]


def test_by_time_rows_of_one_time_cannot_be_parted() -> None:
    with pytest.raises(TrainerError, match="is empty: too few rows, or too many of one time"):
        split_by_time(np.ones(50), 0.1, 0.1)
