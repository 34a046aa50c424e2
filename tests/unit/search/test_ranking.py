"""Which trial is best."""

from __future__ import annotations

import math

import pytest

from tests.unit.reporting.runs import record
from thaw_trainer.search.journal import TrialRecord
from thaw_trainer.search.ranking import best_of

NAN, INF = math.nan, math.inf
FAILURE = {"reason": "TrialError", "message": "", "cause": "user"}


def best(mode: str, *records: TrialRecord) -> int | None:
    found = best_of(records, "accuracy", mode)
    return None if found is None else found.ordinal


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("max", (0.5, 0.9, 0.7), 1),
        ("min", (0.5, 0.9, 0.7), 0),
        ("max", (0.9, 0.9), 0),
        ("min", (0.9, 0.9), 0),
        ("max", (NAN, 0.1), 1),
        ("max", (0.1, NAN), 0),
        ("min", (NAN, INF), 1),
        ("max", (NAN, -INF), 1),
        ("max", (NAN, NAN), 0),
        ("max", (INF, 0.9), 0),
    ],
)
def test_the_best_has_the_best_value_and_of_equals_is_the_first(
    mode: str, values: tuple[float, ...], expected: int
) -> None:
    records = [record(ordinal, value) for ordinal, value in enumerate(values)]
    assert best(mode, *records) == expected
    assert best(mode, *reversed(records)) == expected


def test_a_trial_that_failed_is_never_the_best() -> None:
    assert best("max", record(0, 0.9, state="failed", failure=FAILURE), record(1, 0.5)) == 1
    assert best("max", record(0, 0.9, state="failed", failure=FAILURE), record(1)) is None
