"""What a person reads while a job runs, and in the end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.unit.reporting.runs import record, search_started
from thaw_cli.console import open_console
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import BestTested, DataPrepared, EpochEnded, Event, TrialEnded, TrialStarted
from thaw_trainer.reporting.lines import clock_text, event_line, result_lines

FAILURE = {"reason": "LossNotFinite", "message": "the loss became nan", "cause": "user"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def events() -> list[Event]:
    first, second = record(0, 0.5, 0.7, state="succeeded"), record(1, state="failed", failure=FAILURE)
    return [
        DataPrepared({"train": 80, "validation": 10, "test": 10}, 1.2),
        search_started(),
        TrialStarted(record(0)),
        EpochEnded(first, first.reports[1]),
        TrialEnded(first),
        TrialEnded(second),
        BestTested({"accuracy": 0.75}, 10),
    ]


def test_on_a_pipe_each_event_is_one_plain_line() -> None:
    stream = io.StringIO()
    with open_console(stream) as tell:
        for event in events():
            tell(event)
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(events())
    assert lines[0].startswith("data ")
    assert "80 train, 10 validation, 10 test rows" in lines[0]
    assert "4 trials by accuracy (max), 2 at a time, each with 1 thread" in lines[1]
    assert "lr=0.001" in lines[2]
    assert "epoch 2/3 head" in lines[3]
    assert "accuracy 0.7000" in lines[3]
    assert "succeeded after 2 epochs" in lines[4]
    assert "LossNotFinite: the loss became nan" in lines[5]
    assert "accuracy 0.7500 on 10 rows" in lines[6]
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_the_table_shows_trials_and_the_lines_stay() -> None:
    stream = Terminal()
    with open_console(stream) as tell:
        for event in events():
            tell(event)
    shown = stream.getvalue()
    assert "trial-0000" in shown
    assert "0.7000" in shown
    assert "LossNotFinite" in shown


def test_a_resumed_search_says_what_was_there() -> None:
    line = event_line(search_started(finished=3, interrupted=1), Board(lambda: 0.0))
    assert "3 finished before, 1 go on" in line


def test_the_end_names_the_best_trial_the_test_and_where_things_are() -> None:
    result = {
        "best": {"trial": "trial-0002", "metrics": {"accuracy": 0.8}, "parameters": {"training.optimizer.lr": 0.001}},
        "objective": {"metric": "accuracy", "mode": "max"},
        "test": {"accuracy": 0.75},
        "seconds": {"search": 60.0, "total": 70.0},
        "warnings": ["phase all was never reached"],
    }
    text = "\n".join(result_lines(result, Path("out")))
    assert "trial-0002: accuracy 0.8000 on validation, 0.7500 on test" in text
    assert "out/model" in text
    assert "out/report.html" in text
    assert "phase all was never reached" in text


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65, "1:05"), (3661, "1:01:01"), (-3, "0:00")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
