from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.data.packing import pack, padding_share

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=200)


@given(LENGTHS)
def test_each_row_is_whole_in_one_sequence_that_holds_it(lengths: list[int]) -> None:
    sequences = pack(lengths, 64)
    assert sorted(row for sequence in sequences for row in sequence) == list(range(len(lengths)))
    assert all(0 < sum(lengths[row] for row in sequence) <= 64 for sequence in sequences)


@given(LENGTHS)
def test_no_two_sequences_would_fit_into_one(lengths: list[int]) -> None:
    used = sorted(sum(lengths[row] for row in sequence) for sequence in pack(lengths, 64))
    assert len(used) == 1 or used[0] + used[1] > 64


@given(LENGTHS)
def test_a_row_goes_where_it_fills_best(lengths: list[int]) -> None:
    """The plain way: of all sequences, the one with the least room that is enough."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else 64) - length)
    found = [64 - sum(lengths[row] for row in sequence) for sequence in pack(lengths, 64)]
    assert sorted(found) == sorted(rooms)


def test_halves_and_quarters_leave_no_padding() -> None:
    lengths = [32, 16, 48, 64, 16, 16]
    sequences = pack(lengths, 64)
    assert [sorted(lengths[row] for row in sequence) for sequence in sequences] == [[64], [16, 48], [16, 16, 32]]
    assert padding_share(lengths, len(sequences) * 64) == 0


def test_the_padding_share_is_of_all_tokens() -> None:
    assert padding_share([10, 30], 64) == 0.375
