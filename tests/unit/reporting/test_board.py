"""The board folds events into what is shown."""

from __future__ import annotations

import pytest

from tests.unit.reporting.runs import record, search_started
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import EpochEnded, TrialEnded, TrialStarted


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    board = Board(clock)
    board.tell(search_started())
    return board


def test_the_best_trial_is_the_one_with_the_best_epoch(board: Board) -> None:
    for trial in (record(0, 0.5, 0.7), record(1, 0.9, 0.2), record(2)):
        board.tell(TrialStarted(trial))
    best = board.best()
    assert best is not None
    assert best.ordinal == 1
    assert board.objective(best) == 0.9


def test_where_less_is_better_the_least_is_best(clock: Clock) -> None:
    board = Board(clock)
    board.tell(search_started(metric="loss", mode="min"))
    for trial in (record(0, 0.5), record(1, 0.9)):
        board.tell(TrialStarted(trial))
    best = board.best()
    assert best is not None
    assert best.ordinal == 1


def test_nothing_is_promised_before_an_epoch_has_ended(board: Board, clock: Clock) -> None:
    clock.now = 100.0
    assert board.remaining_seconds() is None


def test_after_a_trial_the_rest_takes_as_long_for_each_trial(board: Board, clock: Clock) -> None:
    trial = record(0, 0.5, state="succeeded")
    board.tell(EpochEnded(trial, trial.reports[0]))
    board.tell(TrialEnded(trial))
    clock.now = 20.0
    assert board.remaining_seconds() == pytest.approx(20.0 * 3)


def test_before_a_trial_has_ended_the_rest_is_reckoned_by_epochs(board: Board, clock: Clock) -> None:
    trial = record(0, 0.5)
    board.tell(EpochEnded(trial, trial.reports[0]))
    clock.now = 10.0
    assert board.remaining_seconds() == pytest.approx(10.0 * 11)


def test_trials_of_earlier_runs_count_as_finished(clock: Clock) -> None:
    board = Board(clock)
    board.tell(search_started(finished=2))
    board.tell(TrialEnded(record(2, 0.5, state="stopped")))
    assert board.counts()["finished"] == 3
