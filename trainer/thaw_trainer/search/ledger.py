"""The search's decisions in one place: which trial comes next, whether one goes on, which is best.

Ray Tune asks (tuning.py), the journal remembers, observers hear of it. No Ray and no clock of its own.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from thaw_api.tasks import Mode
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, SLOTS_NOT_READY
from thaw_trainer.reporting.events import EpochEnded, Observer, TrialEnded, TrialStarted
from thaw_trainer.search.journal import Journal, TrialRecord, TrialState
from thaw_trainer.search.points import Point, Points
from thaw_trainer.search.ranking import best_of, objective_of, ranked
from thaw_trainer.search.stopping import StoppingRule

_log = logging.getLogger("thaw.search")
_FATAL = (OUTPUT_NOT_WRITABLE, SLOTS_NOT_READY)


@dataclass(frozen=True)
class SearchLimits:
    """How many trials, and until when."""

    trials: int
    deadline: float | None = None
    """The clock's time after which nothing is begun or continued."""


class Ledger:
    """All trials of a search: those of earlier runs replayed, interrupted ones first in line."""

    def __init__(
        self,
        journal: Journal,
        points: Points,
        rule: StoppingRule,
        limits: SearchLimits,
        metric: str,
        mode: Mode,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._journal, self._points, self._rule, self._limits = journal, points, rule, limits
        self._metric, self._mode, self._observer, self._clock = metric, mode, observer, clock
        self._interrupted: list[TrialRecord] = []
        self.fatal: dict[str, Any] | None = None
        """A failure that no other trial would escape, such as a full disk: the search ends."""
        self._replay()

    @property
    def records(self) -> list[TrialRecord]:
        """Every trial so far, by ordinal."""
        return [self._journal.records[ordinal] for ordinal in sorted(self._journal.records)]

    def has_more(self) -> bool:
        """Whether there is a trial to begin or to go on with."""
        return bool(self._interrupted) or (len(self._journal.records) < self._limits.trials and not self._is_over())

    def next_trial(self) -> TrialRecord | None:
        """The trial to begin or to go on with, or None when the search has no more."""
        if self._is_over():
            return None
        if self._interrupted:
            record = self._interrupted.pop(0)
            self._observer(TrialStarted(record))
            return record
        ordinal = len(self._journal.records)
        if ordinal >= self._limits.trials:
            return None
        point = self._points.suggest(ordinal)
        if point is None:
            return None
        record = TrialRecord(ordinal, point)
        self._journal.begin(record)
        _log.info("%s begins with %s", record.name, record.parameters)
        self._observer(TrialStarted(record))
        return record

    def expected(self, ordinal: int, stride: int, most: int) -> dict[int, Point]:
        """Points of later trials that are certain already: every `stride`-th after a trial, `most` at most."""
        ordinals = range(ordinal + stride, self._limits.trials, stride)[:most]
        points = {each: self._points.peek(each) for each in ordinals if each not in self._journal.records}
        return {each: point for each, point in points.items() if point is not None}

    def points(self) -> dict[int, Point]:
        """The point of every trial that has begun, and of later ones as far as they are certain."""
        known = {record.ordinal: record.parameters for record in self.records}
        return known | self.expected(-1, 1, self._limits.trials)

    def report(self, ordinal: int, report: dict[str, Any]) -> bool:
        """Takes an epoch's report; whether the trial goes on. A trial that does not is ended here."""
        record = self._journal.records[ordinal]
        self._journal.report(record, report)
        self._observer(EpochEnded(record, report))
        end = self._end_after(record, report)
        if end is None and self.fatal is not None:
            return False  # not ended: it goes on when the job is run again
        if end is None and self._is_over():
            end = "stopped"
        if end is not None:
            self._end(record, end)
        return end is None

    def fail(self, ordinal: int, failure: dict[str, Any]) -> None:
        """A trial ended by an error; ignored when it has ended already.

        What no other trial would escape ends the search, not the trial: it goes on when the job is run again.
        """
        if self._journal.records[ordinal].state != "running":
            return
        if failure["reason"] in _FATAL:
            self.fatal = failure
            return
        self._end(self._journal.records[ordinal], "failed", failure)

    def objective(self, record: TrialRecord) -> float | None:
        """A trial's objective in its best epoch; None when it has none."""
        return objective_of(record, self._metric)

    def best(self, over: bool = False) -> TrialRecord | None:
        """The best trial that did not fail, with `over` of those that have ended; of equals, the first."""
        asked = (record for record in self.records if not (over and record.state == "running"))
        return best_of(asked, self._metric, self._mode)

    def ranked(self) -> list[TrialRecord]:
        """Trials that have ended and have an objective, the best first."""
        return ranked((record for record in self.records if record.state != "running"), self._metric, self._mode)

    def _replay(self) -> None:
        """Has the rule see every report again. A trial whose end a crash kept out of the journal is ended now; nobody
        is told, since observers hear of a search only once it has started."""
        ends = {record.ordinal: self._end_after(record, report) for record, report in self._journal.reports}
        for record in self.records:
            end = ends.get(record.ordinal)
            if record.state == "running" and end is not None:
                self._journal.end(record, end)
            if record.state == "failed" and record.failure and record.failure["cause"] == "infrastructure":
                record.state, record.failure = "running", None  # tried again, as by a new attempt on a cluster
            if record.state == "running":
                self._interrupted.append(record)
            else:
                self._points.tell(record.ordinal, record.parameters, self.objective(record))

    def _end_after(self, record: TrialRecord, report: dict[str, Any]) -> TrialState | None:
        """How a trial ends with this report; None: it goes on."""
        goes_on = self._rule.may_go_on(record.ordinal, report["epoch"], report["metrics"][self._metric])
        if report["last"]:
            return "succeeded"
        return None if goes_on else "stopped"

    def _end(self, record: TrialRecord, state: TrialState, failure: dict[str, Any] | None = None) -> None:
        self._journal.end(record, state, failure)
        _log.info("%s %s after %d epochs %s", record.name, state, len(record.reports), failure or "")
        self._points.tell(record.ordinal, record.parameters, self.objective(record))
        self._observer(TrialEnded(record))

    def _is_over(self) -> bool:
        late = self._limits.deadline is not None and self._clock() >= self._limits.deadline
        return late or self.fatal is not None
