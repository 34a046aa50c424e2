"""The trial table holds what matters, within the bounds of the resource."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.reporting.runs import record, search_started
from thaw_trainer.cluster.trial_rows import ROWS, TABLE_BYTES, trial_rows
from thaw_trainer.reporting.board import Board
from thaw_trainer.search.journal import TrialRecord

VALUES = st.one_of(st.text(st.characters(), max_size=400), st.floats(), st.booleans(), st.integers())
FAILURE = {"reason": "LossNotFinite", "message": "the loss\nbecame nan", "cause": "user"}


def board_of(*records: TrialRecord, metric: str = "accuracy") -> Board:
    board = Board(lambda: 0.0)
    board.tell(search_started(trials=len(records), records=records, metric=metric))
    return board


def many(count: int, **changes: dict[str, Any]) -> list[TrialRecord]:
    """Succeeded trials, the first the best; `changes` by ordinal."""
    return [
        record(ordinal, 0.5 if ordinal else 0.9, **({"state": "succeeded"} | changes.get(f"t{ordinal}", {})))
        for ordinal in range(count)
    ]


def test_of_many_trials_the_best_the_running_and_the_newest_are_shown() -> None:
    rows = trial_rows(board_of(*many(120, t7={"state": "running"}, t30={"state": "running"})))
    names = [row.name for row in rows]
    assert names[:3] == ["trial-0000", "trial-0007", "trial-0030"]
    assert names[3:] == [f"trial-{ordinal:04}" for ordinal in range(120 - (ROWS - 3), 120)]


def test_a_row_says_where_its_trial_stands() -> None:
    (trained, failed, begun) = trial_rows(
        board_of(record(0, 0.5, 0.7), record(1, 0.2, state="failed", failure=FAILURE), record(2))
    )
    assert (trained.state, trained.epoch) == ("running", 2)
    assert trained.metric is not None
    assert (trained.metric.name, trained.metric.value) == ("accuracy", "0.7")
    assert [(each.path, each.value) for each in trained.parameters or ()] == [("training.optimizer.lr", "0.001")]
    assert (failed.state, failed.metric, failed.reason) == ("failed", None, "LossNotFinite: the loss became nan")
    assert (begun.epoch, begun.metric) == (0, None)


def test_large_rows_are_fewer_and_the_best_stays() -> None:
    records = many(50)
    for each in records:
        each.parameters = {f"{'p' * 240}{number}": "ü" * 1000 for number in range(32)}
    rows = trial_rows(board_of(*records))
    assert 1 <= len(rows) < 50
    assert rows[0].name == "trial-0000"
    assert rows[-1].name == "trial-0049"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["running", "succeeded", "stopped", "failed"]),
            st.dictionaries(st.text(st.characters(), max_size=300), VALUES, max_size=40),
            st.lists(st.floats(), max_size=3),
            st.text(st.characters(), max_size=1500),
        ),
        max_size=70,
    ),
    st.text(st.characters(), min_size=1, max_size=300),
)
def test_whatever_trials_there_are_the_table_is_valid_and_bounded(trials: list[Any], metric: str) -> None:
    records = []
    for ordinal, (state, parameters, values, message) in enumerate(trials):
        failure = {"reason": "TrialError", "message": message, "cause": "user"} if state == "failed" else None
        each = record(ordinal, *values, state=state, failure=failure, parameters=parameters)
        for report, value in zip(each.reports, values, strict=True):
            report["metrics"] = {metric: value}
        records.append(each)
    rows = trial_rows(board_of(*records, metric=metric))
    assert len(rows) <= ROWS
    assert len({row.name for row in rows}) == len(rows)
    assert len(json.dumps([row.manifest() for row in rows], ensure_ascii=False).encode()) <= TABLE_BYTES + 2 * ROWS + 2
    if len(records) <= ROWS and all(len(each.parameters) < 5 for each in records):
        assert len(rows) == len(records)
