"""The trial table of a status: the best trial, the running ones and the newest, within bounds."""

import json

from thaw_api.status import Assignment, Metric, TrialRow
from thaw_trainer.cluster.plain_text import number, plain
from thaw_trainer.reporting.board import Board
from thaw_trainer.search.journal import TrialRecord

ROWS = 50
TABLE_BYTES = 96 * 1024
"""Of JSON for the whole table: with everything else, the object stays under 256 KiB."""
_PARAMETERS = 32


def trial_rows(board: Board) -> list[TrialRow]:
    """At most `ROWS` trials and `TABLE_BYTES`, by ordinal; the oldest that are over are left out."""
    best = board.best()

    def rank(record: TrialRecord) -> tuple[bool, bool, int]:
        return (record is not best, record.state != "running", -record.ordinal)

    rows, left = {}, TABLE_BYTES
    for record in sorted(board.records.values(), key=rank)[:ROWS]:
        row = _row(record, board)
        left -= len(json.dumps(row.manifest(), ensure_ascii=False).encode())
        if left < 0:
            break
        rows[record.ordinal] = row
    return [rows[ordinal] for ordinal in sorted(rows)]


def assignments(record: TrialRecord) -> list[Assignment]:
    """A trial's parameters; of very many, the first."""
    items = list(record.parameters.items())[:_PARAMETERS]
    return [Assignment(path=plain(path, 253), value=plain(value, 256)) for path, value in items]


def objective_metric(record: TrialRecord, board: Board) -> Metric | None:
    """The objective in the trial's best epoch so far."""
    value = board.objective(record)
    return (
        None if value is None or board.goal is None else Metric(name=plain(board.goal.metric, 253), value=number(value))
    )


def _row(record: TrialRecord, board: Board) -> TrialRow:
    failure = record.failure
    return TrialRow(
        name=record.name,
        state=record.state,
        epoch=len(record.reports),
        metric=objective_metric(record, board),
        parameters=assignments(record) or None,
        reason=plain(f"{failure['reason']}: {failure['message']}", 1024) if failure else None,
    )
