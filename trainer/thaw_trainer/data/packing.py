"""Joining short rows to full sequences (best-fit decreasing: Ding et al., Fewer Truncations, arXiv 2404.10830)."""

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], longest: int) -> list[list[int]]:
    """Which rows are joined to one sequence, in order: rows stay whole, each is in one sequence.

    The longest row that is left goes to the sequence that it fills best; a new one is begun when it fits into none.
    So nothing is cut, and fewer sequences are not to be had by much (at most 11/9 of the least number).

    Args:
        lengths: tokens of each row, at most `longest`.
        longest: tokens of a sequence.
    """
    sequences: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    """Room that is left -> numbers of the sequences that have so much."""
    rooms: list[int] = []
    """The keys of `by_room`, ascending."""
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        place = bisect_left(rooms, lengths[row])
        if place == len(rooms):
            room, number = longest, len(sequences)
            sequences.append([])
        else:
            room = rooms[place]
            number = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[place]
        sequences[number].append(row)
        left = room - lengths[row]
        if left:
            if left not in by_room:
                insort(rooms, left)
            by_room.setdefault(left, []).append(number)
    return sequences


def padding_share(lengths: Sequence[int], padded: int) -> float:
    """Share of tokens that is padding.

    Args:
        lengths: tokens of each row.
        padded: tokens of all sequences or batches that hold them.
    """
    return 1 - sum(lengths) / padded
