"""What `status.training` says, from events alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.reporting.runs import record, run_started, search_started
from thaw_api.status import TrainingStatus
from thaw_trainer.cluster.attempt import Attempt, Ending
from thaw_trainer.cluster.training_status import Reported, StatusView, training_status
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import BestTested, EpochEnded, Event, TrialEnded, TrialStarted

REPORTED = Reported(Attempt("sections", "research", "u-1", 2), "pvc://models/out")
FAILURE = {"reason": "ColumnNotFound", "message": "spec.data.columns.text: no column 'words'", "cause": "user"}
RESULT = {"test": {"accuracy": 0.9083333333333333, "loss": None}}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def board_of(*events: Event, clock: Clock | None = None) -> Board:
    board = Board(clock or Clock())
    for event in events:
        board.tell(event)
    return board


def status(*events: Event, ending: Ending | None = None) -> dict[str, Any]:
    return training_status(REPORTED, board_of(*events), ending=ending).manifest()


def test_before_anything_has_happened_it_says_whose_report_it_is() -> None:
    assert status() == {"progressPercentage": 0, "jobUID": "u-1"}


def test_the_first_report_of_a_new_job_has_no_trial_yet() -> None:
    first = status(run_started())
    assert first["progressPercentage"] == 0
    assert first["trials"] == {"total": 4, "running": 0, "succeeded": 0, "stopped": 0, "failed": 0}
    assert first["summary"] == {"trials": "0/4"}
    assert "trialTable" not in first


def test_the_first_report_after_a_resume_comes_from_the_journal() -> None:
    first = status(run_started(record(0, 0.5, 0.9, state="succeeded"), record(1, 0.3)))
    assert first["bestTrial"]["name"] == "trial-0000"
    assert [row["state"] for row in first["trialTable"]] == ["succeeded", "running"]
    assert first["summary"] == {"trials": "1/4", "best": "accuracy 0.9"}
    assert first["progressPercentage"] == 32


def test_in_mid_search_it_says_all_that_people_ask() -> None:
    clock = Clock()
    first, second = record(0, 0.5, 0.9, state="succeeded"), record(1, 0.3)
    board = board_of(run_started(), search_started(), clock=clock)
    clock.now = 20.0
    for event in (TrialStarted(first), EpochEnded(first, first.reports[1]), TrialEnded(first), TrialStarted(second)):
        board.tell(event)
    board.tell(EpochEnded(second, second.reports[0]))
    told = training_status(REPORTED, board).manifest()
    assert told["trials"] == {"total": 4, "running": 1, "succeeded": 1, "stopped": 0, "failed": 0}
    assert told["metrics"] == [{"name": "accuracy", "value": "0.9"}, {"name": "loss", "value": repr(1 - 0.9)}]
    assert told["bestTrial"] == {
        "name": "trial-0000",
        "metric": {"name": "accuracy", "value": "0.9"},
        "parameters": [{"path": "training.optimizer.lr", "value": "0.001"}],
    }
    assert told["freezing"] == {"phase": "head", "trainableParameters": 300, "totalParameters": 1000}
    assert told["checkpoint"] == {
        "uri": "pvc://models/out/checkpoints/trial-0001/epoch-0001",
        "time": "1970-01-01T00:00:14Z",
        "epoch": 1,
    }
    assert told["estimatedRemainingSeconds"] == 60
    assert told["progressPercentage"] == 32


def test_between_trials_the_checkpoint_is_the_best_epochs() -> None:
    told = status(run_started(), search_started(records=(record(0, 0.9, 0.5, state="succeeded"),)))
    assert told["checkpoint"]["uri"] == "pvc://models/out/checkpoints/trial-0000/best-0001.safetensors"


def test_a_job_that_succeeded_has_its_result_and_all_of_its_progress() -> None:
    told = status(
        run_started(record(0, 0.9, state="succeeded")), BestTested({"accuracy": 0.9}, 10), ending=Ending(0, RESULT)
    )
    assert told["progressPercentage"] == 100
    assert told["result"] == {
        "uri": "pvc://models/out",
        "metrics": [{"name": "accuracy", "value": "0.9083333333333333"}, {"name": "loss", "value": "nan"}],
    }
    assert not {"checkpoint", "failure", "estimatedRemainingSeconds"} & told.keys()


def test_all_is_not_done_before_the_end() -> None:
    over = [record(ordinal, 0.9, state="succeeded") for ordinal in range(4)]
    assert status(run_started(*over))["progressPercentage"] == 98
    assert status(run_started(*over), BestTested({}, 10))["progressPercentage"] == 99


def test_a_failure_is_reported_with_its_attempt_and_keeps_what_was_reached() -> None:
    told = status(run_started(record(0, 0.5)), ending=Ending(2, failure=FAILURE))
    assert told["failure"] == {"attempt": 2, **FAILURE}
    assert told["progressPercentage"] < 100
    assert told["checkpoint"]["epoch"] == 1
    assert "result" not in told


def test_progress_never_goes_back_within_an_attempt() -> None:
    board = board_of(run_started(record(0, 0.5, 0.6, 0.7, state="succeeded")))
    view = StatusView(REPORTED, board)
    before = view.report()["progressPercentage"]
    board.tell(search_started(records=()))
    assert view.report()["progressPercentage"] == before == 24


def test_a_status_that_cannot_be_made_is_no_reason_to_end_a_training() -> None:
    board = board_of(run_started(record(0, 0.5)))
    view = StatusView(REPORTED, board)
    before = view.report()
    broken = record(1, 0.9)
    broken.reports[0]["trainable"] = -1
    board.tell(EpochEnded(broken, broken.reports[0]))
    board.records[0].state = "succeeded"
    assert view.report() == before


def test_a_value_that_is_no_number_is_told_and_is_never_the_best() -> None:
    told = status(run_started(record(0, float("nan")), record(1, float("inf")), record(2, 0.5), mode="min"))
    assert told["bestTrial"]["name"] == "trial-0002"
    assert [row["metric"]["value"] for row in told["trialTable"]] == ["nan", "inf", "0.5"]


def test_names_that_become_the_same_are_told_once() -> None:
    strange = record(0, 0.5)
    strange.reports[0]["metrics"] |= {"a\x00b": 1.0, "ab": 2.0}
    names = [metric["name"] for metric in status(run_started(strange))["metrics"]]
    assert sorted(names) == ["ab", "accuracy", "loss"]


def test_an_address_that_is_too_long_is_left_out() -> None:
    reported = Reported(REPORTED.attempt, "pvc://models/" + "a" * 1000)
    assert training_status(reported, board_of(run_started(record(0, 0.5)))).checkpoint is None


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=9000), st.text(st.characters(), max_size=9000), st.floats())
def test_whatever_the_texts_are_the_report_is_valid(phase: str, message: str, value: float) -> None:
    trial = record(0, value)
    trial.reports[0] |= {"phase": phase, "metrics": {"accuracy": value, message: value}}
    told = status(run_started(trial), ending=Ending(1, failure=FAILURE | {"message": message}))
    TrainingStatus.model_validate_json(json.dumps(told))
    json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


def test_the_whole_object_stays_within_what_the_store_takes() -> None:
    records = [
        record(ordinal, 0.5, state="failed", failure=FAILURE | {"message": "ü" * 9000}) for ordinal in range(400)
    ]
    for each in records:
        each.parameters = {f"{number}{'ü' * 300}": "ü" * 1000 for number in range(40)}
        each.reports[0]["metrics"] |= {f"{number}{'ü' * 300}": 1.0 for number in range(40)}
    told = status(run_started(*records), ending=Ending(1, failure=FAILURE | {"message": "ü" * 9000}))
    assert len(json.dumps(told, ensure_ascii=False).encode()) < 180 * 1024


@pytest.mark.parametrize("total", [2, 4])
def test_the_count_is_never_below_what_there_is(total: int) -> None:
    told = status(run_started(*(record(ordinal, 0.5) for ordinal in range(3)), trials=total))
    assert told["trials"]["total"] == max(3, total)
