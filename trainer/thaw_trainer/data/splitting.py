"""Which rows are trained on, chosen by and tested on: by fractions, stratified, groups kept together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.errors import SPLIT_INVALID, TrainerError

Rows = NDArray[np.int64]


def split_rows(
    count: int,
    validation: float,
    test: float,
    seed: int,
    strata: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Rows]:
    """Row numbers of `train`, `validation` and `test`, each ascending; disjoint, together all of `range(count)`.

    Systematic sampling: units (rows, or groups of rows) lie on a line, ordered by stratum and then size, otherwise
    shuffled; every 1/fraction-th unit is held out. So each stratum and the whole are held out in proportion, to within
    a unit or two, and large groups as often as small ones. A group's stratum is the most frequent one of its rows.

    Raises:
        TrainerError: SplitInvalid: a split is empty, or a stratum has too few rows to be in each.
    """
    parts = 1 + (validation > 0) + (test > 0)
    if strata is not None:
        _check_strata(strata, parts, groups)
    random = np.random.default_rng(seed)
    units = _units(count, strata, groups, random)
    held = _systematic(len(units), validation + test, random)
    outside = [unit for unit, is_held in zip(units, held, strict=True) if is_held]
    tested = _systematic(len(outside), test / (validation + test or 1), random)
    chosen = {
        "train": [unit for unit, is_held in zip(units, held, strict=True) if not is_held],
        "validation": [unit for unit, is_test in zip(outside, tested, strict=True) if not is_test],
        "test": [unit for unit, is_test in zip(outside, tested, strict=True) if is_test],
    }
    rows = {name: np.sort(np.concatenate([np.empty(0, np.int64), *part])) for name, part in chosen.items()}
    for name, share in (("train", 1 - validation - test), ("validation", validation), ("test", test)):
        if share > 0 and not len(rows[name]):
            of = f"{len(units)} groups" if groups is not None else f"{count} rows"
            raise TrainerError(
                SPLIT_INVALID, f"{name} is empty: a share of {share:g} of {of} is none", "spec.data.split"
            )
    return rows


def split_by_time(times: NDArray[np.float64], validation: float, test: float) -> dict[str, Rows]:
    """Row numbers of `train`, `validation` and `test`, each ascending: the oldest, the next and the newest rows. Rows
    of one time stay together, in the older split.

    Raises:
        TrainerError: SplitInvalid: a split is empty.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    cuts = []
    for held in (validation + test, test):
        cut = len(times) - round(held * len(times))
        # Behind the last row of the time that the cut would go through.
        cuts.append(int(np.searchsorted(ordered, ordered[cut - 1], side="right")) if 0 < cut < len(times) else cut)
    parts = dict(zip(("train", "validation", "test"), np.split(order, cuts), strict=True))
    for name, share in (("train", 1.0), ("validation", validation), ("test", test)):
        if share > 0 and not len(parts[name]):
            message = f"{name} is empty: too few rows, or too many of one time"
            raise TrainerError(SPLIT_INVALID, message, "spec.data.split.timeBy")
    return {name: np.sort(part) for name, part in parts.items()}


def _check_strata(strata: Sequence[str], parts: int, groups: Sequence[str] | None) -> None:
    values, counts = np.unique(np.asarray(strata, dtype=str), return_counts=True)
    if groups is None and counts.min() < parts:
        rare = [f"{str(value)!r} ({n})" for value, n in zip(values, counts, strict=True) if n < parts]
        raise TrainerError(
            SPLIT_INVALID,
            f"a value needs {parts} rows or more to be in each split; too few rows have {', '.join(rare[:5])}",
            "spec.data.split.stratifyBy",
        )


def _units(
    count: int, strata: Sequence[str] | None, groups: Sequence[str] | None, random: np.random.Generator
) -> list[Rows]:
    """Rows that stay together, shuffled, then ordered by stratum and size."""
    stratum_of_row = np.unique(strata, return_inverse=True)[1] if strata is not None else np.zeros(count, np.int64)
    if groups is None:
        order = random.permutation(count)
        return list(order[np.argsort(stratum_of_row[order], kind="stable")].reshape(-1, 1))
    group_of_row = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(group_of_row, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group_of_row[order])) + 1)
    shuffled = [members[i] for i in random.permutation(len(members))]
    return sorted(shuffled, key=lambda rows: (int(np.bincount(stratum_of_row[rows]).argmax()), len(rows)))


def _systematic(units: int, share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which units are picked: every 1/share-th from a random start, so each has the chance `share`."""
    return np.asarray(((np.arange(units) + 0.5) * share + random.random()) % 1.0 < share)
