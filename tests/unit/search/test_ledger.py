"""The search's decisions, of one run."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.search.searches import (
    EPOCHS,
    FAILURE,
    TRIALS,
    Opened,
    report_of,
    told,
    value_of,
)
from thaw_trainer.errors import (
    OUTPUT_NOT_WRITABLE,
    SLOTS_NOT_READY,
    TrainerError,
)
from thaw_trainer.reporting.events import EpochEnded, TrialEnded, TrialStarted


def test_a_search_tries_as_many_trials_as_it_may(file: Path) -> None:
    opened = Opened(file)
    opened.search()
    assert [record.name for record in opened.ledger.records] == [f"trial-{number:04}" for number in range(TRIALS)]
    assert Counter(record.state for record in opened.ledger.records) == {"succeeded": TRIALS - 1, "failed": 1}
    assert not opened.ledger.has_more()
    assert opened.ledger.next_trial() is None


def test_observers_hear_of_every_beginning_epoch_and_end(file: Path) -> None:
    opened = Opened(file, trials=1)
    opened.train(opened.begin())
    assert [type(event) for event in opened.events] == [TrialStarted, *[EpochEnded] * EPOCHS, TrialEnded]


def test_the_rule_stops_trials(file: Path) -> None:
    opened = Opened(file, scheduler="asha")
    opened.search()
    states = Counter(record.state for record in opened.ledger.records)
    assert states["stopped"] > 1
    assert states["succeeded"] > 0
    assert all(record.reports[-1]["epoch"] in (1, 3) for record in opened.ledger.records if record.state == "stopped")


def test_a_last_report_is_a_success_even_when_the_rule_would_stop(file: Path) -> None:
    opened = Opened(file, scheduler="asha")
    records = [opened.begin() for _ in range(4)]
    for record in sorted(records, key=lambda each: -value_of(each, 1)):
        assert not opened.ledger.report(record.ordinal, report_of(record, 1, last=True))
    assert {record.state for record in records} == {"succeeded"}


def test_the_best_trial_is_that_of_the_best_epoch(file: Path) -> None:
    opened = Opened(file)
    opened.search()
    best = opened.ledger.best()
    assert best is not None
    values = {
        each.ordinal: max(value_of(each, epoch) for epoch in range(1, EPOCHS + 1)) for each in opened.ledger.records
    }
    del values[5]
    assert best.ordinal == max(values, key=lambda ordinal: values[ordinal])


@pytest.mark.parametrize(("mode", "expected"), [("max", 1), ("min", 0)])
def test_the_best_of_equals_is_the_first(file: Path, mode: str, expected: int) -> None:
    opened = Opened(file, mode=mode)
    records = told(opened, 0.1, 0.9, 0.9, 0.1)
    assert opened.ledger.best() is records[expected]


def test_a_trial_without_a_number_is_never_the_best(file: Path) -> None:
    opened = Opened(file)
    records = told(opened, math.nan, -3.0)
    assert opened.ledger.best() is records[1]
    assert opened.ledger.objective(records[0]) is None


def test_a_trial_that_failed_is_never_the_best(file: Path) -> None:
    opened = Opened(file)
    record = opened.begin()
    opened.train(record, 2)
    opened.ledger.fail(record.ordinal, FAILURE)
    assert opened.ledger.best() is None
    assert record.failure == FAILURE


def test_a_failure_of_a_trial_that_is_over_is_ignored(file: Path) -> None:
    opened = Opened(file)
    (record,) = told(opened, 0.5)
    opened.ledger.fail(record.ordinal, FAILURE)
    assert (record.state, record.failure) == ("succeeded", None)


def test_one_trials_failure_does_not_end_the_search(file: Path) -> None:
    opened = Opened(file)
    opened.ledger.fail(opened.begin().ordinal, FAILURE)
    assert opened.ledger.fatal is None
    assert opened.ledger.has_more()
    assert opened.begin().ordinal == 1


@pytest.mark.parametrize("reason", [OUTPUT_NOT_WRITABLE, SLOTS_NOT_READY])
def test_a_failure_that_no_other_trial_would_escape_ends_the_search(file: Path, reason: str) -> None:
    opened = Opened(file)
    first, second = opened.begin(), opened.begin()
    fatal = TrainerError(reason, "no", cause="infrastructure").as_dict()
    opened.ledger.fail(first.ordinal, fatal)
    assert opened.ledger.fatal == fatal
    assert opened.ledger.next_trial() is None
    assert not opened.ledger.has_more()
    assert not opened.ledger.report(second.ordinal, report_of(second))


def test_trials_in_flight_at_such_a_failure_go_on_when_the_job_is_run_again(file: Path) -> None:
    opened = Opened(file)
    first, second = opened.begin(), opened.begin()
    opened.train(second, 2)
    opened.ledger.fail(first.ordinal, TrainerError(OUTPUT_NOT_WRITABLE, "no", cause="infrastructure").as_dict())
    opened.train(second, 1)
    again = Opened(file)
    assert [again.begin().ordinal for _ in range(3)] == [0, 1, 2]
    assert len(again.ledger.records[1].reports) == 3


def test_a_trial_that_the_infrastructure_failed_is_tried_again_when_the_job_is_run_again(file: Path) -> None:
    opened = Opened(file)
    lost, diverged = opened.begin(), opened.begin()
    opened.ledger.fail(lost.ordinal, TrainerError("WorkerLost", "died", cause="infrastructure").as_dict())
    opened.ledger.fail(diverged.ordinal, FAILURE)
    again = Opened(file)
    assert [again.begin().ordinal for _ in range(2)] == [0, 2]
    assert again.ledger.records[1].state == "failed"


def test_the_best_trial_that_has_ended_may_be_another_than_the_best(file: Path) -> None:
    opened = Opened(file)
    ended, running = opened.begin(), opened.begin()
    opened.train(ended)
    opened.ledger.report(running.ordinal, report_of(running) | {"metrics": {"accuracy": 2.0}, "best_epoch": 1})
    assert opened.ledger.best() is running
    assert opened.ledger.best(over=True) is ended


def test_after_the_time_budget_nothing_is_begun_or_continued(file: Path) -> None:
    opened = Opened(file, deadline=100.0)
    record = opened.begin()
    opened.now = 99.9
    assert opened.train(record, 1)
    opened.now = 100.0
    assert not opened.ledger.has_more()
    assert opened.ledger.next_trial() is None
    assert not opened.ledger.report(record.ordinal, report_of(record))
    assert record.state == "stopped"
    assert opened.ledger.best() is record
