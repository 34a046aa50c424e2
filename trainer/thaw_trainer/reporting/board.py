"""The run so far, folded from its events: what a console shows and a status carries."""

import math
from collections import Counter
from collections.abc import Callable

from thaw_trainer.reporting.events import (
    BestTested,
    EpochEnded,
    Event,
    RunStarted,
    SearchStarted,
    TrialEnded,
    TrialStarted,
)
from thaw_trainer.search.journal import TrialRecord
from thaw_trainer.search.ranking import best_of, objective_of


class Board:
    """Trials, the best so far, and how long the rest may take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.run: RunStarted | None = None
        self.search: SearchStarted | None = None
        self.tested: BestTested | None = None
        self.records: dict[int, TrialRecord] = {}
        """Every trial, those of earlier runs among them."""
        self._began = clock()
        self._ended_here = 0
        self._epochs_here = 0

    def tell(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, RunStarted):
            self.run = event
            self.records = {record.ordinal: record for record in event.records}
        elif isinstance(event, SearchStarted):
            self.search, self._began = event, self._clock()
            self.records = {record.ordinal: record for record in event.records}
        elif isinstance(event, TrialStarted):
            self.records[event.record.ordinal] = event.record
        elif isinstance(event, EpochEnded):
            self.records[event.record.ordinal] = event.record
            self._epochs_here += 1
        elif isinstance(event, TrialEnded):
            self.records[event.record.ordinal] = event.record
            self._ended_here += 1
        elif isinstance(event, BestTested):
            self.tested = event

    @property
    def goal(self) -> RunStarted | SearchStarted | None:
        """What was begun: trials, epochs, metric and mode."""
        return self.search or self.run

    def counts(self) -> Counter[str]:
        """Trials by state, and those that are over as `finished`."""
        states: Counter[str] = Counter(record.state for record in self.records.values())
        states["finished"] = (self.search.finished if self.search else 0) + self._ended_here
        return states

    def objective(self, record: TrialRecord) -> float | None:
        """A trial's objective in its best epoch so far; None when it has none or has failed."""
        return objective_of(record, self.goal.metric) if self.goal else None

    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        return best_of(self.records.values(), self.goal.metric, self.goal.mode) if self.goal else None

    def share_done(self) -> float:
        """How much of the search is done, 0 to 1: a trial that is over counts 1, one in training by its epochs."""
        if self.goal is None:
            return 0.0
        done = [
            1.0 if record.state != "running" else min(1.0, len(record.reports) / self.goal.epochs)
            for record in self.records.values()
        ]
        return min(1.0, math.fsum(done) / max(1, self.goal.trials))

    def remaining_seconds(self) -> float | None:
        """How long the search may still take; None before an epoch has ended.

        By the trials that have ended here; before one has, by epochs, as if each trial were trained to its cap.
        """
        if self.search is None or not self._epochs_here:
            return None
        elapsed = self._clock() - self._began
        left = self.search.trials - self.search.finished - self._ended_here
        if self._ended_here:
            return elapsed / self._ended_here * left
        return elapsed / self._epochs_here * (left * self.search.epochs - self._epochs_here)
