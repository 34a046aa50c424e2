"""Searches with made-up values, for the tests of ledger and journal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_api.search import SchedulerSpec
from thaw_trainer.errors import (
    LOSS_NOT_FINITE,
    TrainerError,
)
from thaw_trainer.reporting.events import Event
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
