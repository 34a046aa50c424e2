"""The run so far, folded from its events: what a console shows and a status carries."""

from collections import Counter
from collections.abc import Callable

from thaw_trainer.reporting.events import EpochEnded, Event, SearchStarted, TrialEnded, TrialStarted
from thaw_trainer.search.journal import TrialRecord


class Board:
    """Trials, the best so far, and how long the rest may take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.search: SearchStarted | None = None
        self.records: dict[int, TrialRecord] = {}
        self._began = clock()
        self._ended_here = 0
        self._epochs_here = 0

    def tell(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, SearchStarted):
            self.search, self._began = event, self._clock()
        elif isinstance(event, TrialStarted):
            self.records[event.record.ordinal] = event.record
        elif isinstance(event, EpochEnded):
            self._epochs_here += 1
        elif isinstance(event, TrialEnded):
            self.records[event.record.ordinal] = event.record
            self._ended_here += 1

    def counts(self) -> Counter[str]:
        """Trials by state, those of earlier runs among them as `finished`."""
        states: Counter[str] = Counter(record.state for record in self.records.values())
        states["finished"] = (self.search.finished if self.search else 0) + self._ended_here
        return states

    def objective(self, record: TrialRecord) -> float | None:
        """A trial's objective in its best epoch so far."""
        best = record.best_report()
        return float(best["metrics"][self.search.metric]) if best and self.search else None

    def best(self) -> TrialRecord | None:
        """The best trial that this run has seen."""
        scored = [(value, record) for record in self.records.values() if (value := self.objective(record)) is not None]
        if not scored or self.search is None:
            return None
        sign = 1 if self.search.mode == "max" else -1
        return max(scored, key=lambda pair: (sign * pair[0], -pair[1].ordinal))[1]

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
