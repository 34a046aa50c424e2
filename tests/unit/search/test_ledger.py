from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_api.search import SchedulerSpec
from thaw_trainer.errors import (
    LOSS_NOT_FINITE,
    OUTPUT_NOT_WRITABLE,
    OUTPUT_OF_ANOTHER_JOB,
    SLOTS_NOT_READY,
    TrainerError,
)
from thaw_trainer.reporting.events import EpochEnded, Event, TrialEnded, TrialStarted
from thaw_trainer.search.journal import Journal, TrialRecord
from thaw_trainer.search.ledger import Ledger, SearchLimits
from thaw_trainer.search.points import points_of
from thaw_trainer.search.stopping import stopping_rule

LR = "training.optimizer.lr"
TRIALS, EPOCHS, SLOTS = 8, 9, 3


def random_search() -> FineTuneJobSpec:
    search = {"algorithm": {"name": "random"}, "parameters": [parameter(LR, logUniform={"min": 1e-5, "max": 0.1})]}
    return FineTuneJobSpec.model_validate(job({"search": search})["spec"])


def value_of(record: TrialRecord, epoch: int) -> float:
    """A made-up accuracy that depends on the trial's point."""
    return round(math.sin(1000 * float(record.parameters[LR])) * (1 - 0.5**epoch), 6)


def report_of(record: TrialRecord, epoch: int | None = None, last: bool | None = None) -> dict[str, Any]:
    epoch = epoch or len(record.reports) + 1
    values = [value_of(record, each) for each in range(1, epoch + 1)]
    return {
        "epoch": epoch,
        "metrics": {"accuracy": values[-1]},
        "best_epoch": values.index(max(values)) + 1,
        "last": epoch == EPOCHS if last is None else last,
        "warnings": [],
    }


FAILURE = TrainerError(LOSS_NOT_FINITE, "the loss became nan").as_dict()


@dataclass
class Opened:
    """A ledger over a journal's file, its clock and what its observers were told."""

    file: Path
    trials: int = TRIALS
    scheduler: str = "none"
    deadline: float | None = None
    mode: Any = "max"
    now: float = 0.0
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal(self.file, "job")
        rule = stopping_rule(SchedulerSpec.model_validate({"name": self.scheduler}), self.mode, EPOCHS, 1)
        limits = SearchLimits(self.trials, self.deadline)
        points = points_of(random_search(), len(self.journal.records))
        observe = self.events.append
        self.ledger = Ledger(self.journal, points, rule, limits, "accuracy", self.mode, observe, clock=lambda: self.now)

    def begin(self) -> TrialRecord:
        record = self.ledger.next_trial()
        assert record is not None
        return record

    def train(self, record: TrialRecord, epochs: int = EPOCHS) -> bool:
        """Reports epochs until the ledger stops the trial; whether it still goes on."""
        return all(self.ledger.report(record.ordinal, report_of(record)) for _ in range(epochs))

    def search(self) -> None:
        """Runs the search to its end: slots take turns, an epoch each; trial 5 fails in its second epoch."""
        running: list[TrialRecord] = []
        while True:
            while len(running) < SLOTS and (record := self.ledger.next_trial()) is not None:
                running.append(record)
            if not running:
                return
            record = running.pop(0)
            if record.ordinal == 5 and len(record.reports) == 1:
                self.ledger.fail(5, FAILURE)
            elif self.ledger.report(record.ordinal, report_of(record)):
                running.append(record)

    def story(self) -> list[tuple[Any, ...]]:
        return [(each.ordinal, each.parameters, each.reports, each.state, each.failure) for each in self.ledger.records]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "journal.jsonl"


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


def told(opened: Opened, *values: float) -> list[TrialRecord]:
    """Trials of one epoch with these values."""
    records = []
    for value in values:
        record = opened.begin()
        report = report_of(record, 1, last=True) | {"metrics": {"accuracy": value}}
        report["best_epoch"] = 0 if math.isnan(value) else 1
        opened.ledger.report(record.ordinal, report)
        records.append(record)
    return records


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[tuple[Any, ...]], list[str]]]:
    """The story and the journal of a search that nothing interrupts."""
    found = {}
    for scheduler in ("none", "asha"):
        opened = Opened(tmp_path_factory.mktemp(scheduler) / "journal.jsonl", scheduler=scheduler)
        opened.search()
        found[scheduler] = opened.story(), opened.file.read_text().splitlines(keepends=True)
    return found


@pytest.mark.parametrize("scheduler", ["none", "asha"])
@pytest.mark.parametrize("half", [False, True])
def test_a_search_that_is_cut_off_after_any_line_goes_on_to_the_same_end(
    tmp_path: Path, whole: dict[str, Any], scheduler: str, half: bool
) -> None:
    story, lines = whole[scheduler]
    for cut in range(1, len(lines) + 1):
        file = tmp_path / f"{cut}.jsonl"
        half_written = lines[cut][: len(lines[cut]) // 2] if half and cut < len(lines) else ""
        file.write_text("".join(lines[:cut]) + half_written)
        opened = Opened(file, scheduler=scheduler)
        began = Counter(event.record.ordinal for event in opened.events if isinstance(event, TrialStarted))
        opened.search()
        began = Counter(event.record.ordinal for event in opened.events if isinstance(event, TrialStarted))
        assert all(count == 1 for count in began.values())
        found = opened.story()
        assert [each[:2] for each in found] == [each[:2] for each in story], "the same points"
        if scheduler == "none":
            assert found == story
        for ordinal, _, reports, state, _ in found:
            assert [report["epoch"] for report in reports] == list(range(1, len(reports) + 1)), ordinal
            assert state != "running"
        kept = [json.loads(line) for line in lines[:cut]]
        for entry in (each for each in kept if each["event"] == "end"):
            assert found[entry["trial"]] == story[entry["trial"]], "what had ended stays as it ended"
        assert file.read_text().startswith("".join(lines[:cut]))


def test_a_decision_that_a_crash_kept_out_of_the_journal_is_made_again(whole: dict[str, Any], tmp_path: Path) -> None:
    """The journal ends with the report after which its trial was ended."""
    cuts = 0
    for scheduler in ("none", "asha"):
        _, lines = whole[scheduler]
        for cut in range(1, len(lines)):
            end = json.loads(lines[cut])
            if end["event"] != "end" or end["state"] == "failed":
                continue
            cuts += 1
            file = tmp_path / f"{scheduler}-{cut}.jsonl"
            file.write_text("".join(lines[:cut]))
            opened = Opened(file, scheduler=scheduler)
            assert opened.journal.records[end["trial"]].state == end["state"]
            assert opened.file.read_text() == "".join(lines[: cut + 1])
            assert opened.events == [], "nobody is told before the search has started"
    assert cuts > TRIALS


def test_interrupted_trials_come_first(file: Path) -> None:
    opened = Opened(file)
    first, second = opened.begin(), opened.begin()
    opened.train(first, 2)
    opened.journal.close()
    again = Opened(file)
    assert again.ledger.has_more()
    found = [again.begin() for _ in range(3)]
    assert [record.ordinal for record in found] == [first.ordinal, second.ordinal, 2]
    assert len(found[0].reports) == 2


def test_points_are_told_what_earlier_runs_found(file: Path) -> None:
    opened = Opened(file)
    told(opened, 0.5, math.nan)
    opened.begin()
    heard: list[tuple[int, float | None]] = []

    class Listening:
        def suggest(self, ordinal: int) -> None:
            return None

        def tell(self, ordinal: int, point: Any, value: float | None) -> None:
            heard.append((ordinal, value))

    rule = stopping_rule(SchedulerSpec(), "max", EPOCHS, 1)
    limits = SearchLimits(TRIALS)
    Ledger(Journal(file, "job"), Listening(), rule, limits, "accuracy", "max", heard.append, lambda: 0.0)  # type: ignore[arg-type]
    assert heard == [(0, 0.5), (1, None)]


# The journal.


def test_a_half_written_last_line_is_taken_out_of_the_file(file: Path) -> None:
    opened = Opened(file)
    opened.train(opened.begin(), 2)
    opened.journal.close()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event": "report", "trial": 0, "rep\xc3')
    again = Journal(file, "job")
    assert len(again.records[0].reports) == 2
    assert file.read_bytes() == whole


def test_a_journal_of_nothing_but_half_a_line_begins_anew(file: Path) -> None:
    file.write_text('{"event": "jo')
    journal = Journal(file, "job")
    assert not journal.interrupted
    assert json.loads(file.read_text()) == {"event": "job", "job": "job", "manifest": ""}


def test_a_folder_of_another_job_is_refused(file: Path) -> None:
    Journal(file, "job").close()
    with pytest.raises(TrainerError, match="another manifest") as caught:
        Journal(file, "other")
    assert (caught.value.reason, caught.value.field) == (OUTPUT_OF_ANOTHER_JOB, "spec.output.uri")
    assert Journal(file, "job").interrupted


def test_a_new_journal_is_not_an_interrupted_one(file: Path) -> None:
    assert not Journal(file, "job").interrupted


@given(st.text(max_size=20), st.text(max_size=20) | st.floats(allow_nan=False) | st.integers() | st.booleans())
def test_a_journal_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, message: str, value: Any) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(file, "job")
    record = TrialRecord(0, {"model.uri": value})
    journal.begin(record)
    journal.end(record, "failed", FAILURE | {"message": message})
    journal.close()
    assert Journal(file, "job").records == {0: record}


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\r", "\x1c", "\udcff"])
def test_a_line_separator_or_a_broken_character_in_a_message_breaks_no_line(file: Path, character: str) -> None:
    journal = Journal(file, "job")
    record = TrialRecord(0, {})
    journal.begin(record)
    journal.end(record, "failed", FAILURE | {"message": f"a{character}b"})
    journal.close()
    assert Journal(file, "job").records == {0: record}


def test_each_line_is_synced_before_the_search_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    journal = Journal(file, "job")
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(len(file.read_bytes().splitlines())))
    record = TrialRecord(0, {})
    journal.begin(record)
    journal.report(record, {"epoch": 1})
    journal.end(record, "succeeded")
    assert synced == [2, 3, 4]


def test_a_full_disk_is_an_error_that_names_the_output(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(file, "job")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainerError, match="No space left") as caught:
        journal.begin(TrialRecord(0, {}))
    assert (caught.value.reason, caught.value.cause) == (OUTPUT_NOT_WRITABLE, "infrastructure")
