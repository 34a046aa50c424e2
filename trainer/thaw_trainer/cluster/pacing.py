"""When the next report goes out: a value at a time, no clock and no thread of its own.

At most one write in five seconds; at once, but never more than one a second, when a phase of freezing, the best trial
or a trial's state is another; only when something changed; after a refusal that may pass, later and later.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

Report: TypeAlias = dict[str, Any]
"""`status.training` as JSON, without the time of its writing."""

PLAIN_GAP, URGENT_GAP = 5.0, 1.0
"""Seconds between two writes."""
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
"""Seconds until a write is tried again; doubled each time."""


class Answer(Enum):
    """What became of a write."""

    DELIVERED = "delivered"
    RETRY = "retry"
    """It may go well later."""
    DROPPED = "dropped"
    """It never will; the next report may."""
    GONE = "gone"
    """There is no job to report of any more."""


@dataclass(frozen=True)
class Outcome:
    """The answer to a write."""

    answer: Answer
    message: str = ""
    retry_after: float = 0.0
    """Seconds that the server asks to wait."""


class Pacing:
    """What is to be written, and when."""

    def __init__(self) -> None:
        self._pending: Report | None = None
        self._settled: Report | None = None
        self._taken: Report | None = None
        self._written = float("-inf")
        self._not_before = float("-inf")
        self._backoff = FIRST_BACKOFF
        self._final = self._gone = False

    @property
    def over(self) -> bool:
        """Whether nothing is left to write, and nothing will come."""
        return self._gone or (self._final and self._pending is None)

    def offer(self, report: Report, final: bool = False) -> None:
        """The newest report; it replaces one that has not been written yet."""
        self._final = self._final or final
        self._pending = report if report != self._settled else None

    def due(self) -> float | None:
        """The clock's time when the next write may go out; None when there is nothing to write."""
        if self._pending is None or self._gone:
            return None
        gap = 0.0 if self._final else URGENT_GAP if self._is_urgent(self._pending) else PLAIN_GAP
        return max(self._written + gap, self._not_before)

    def take(self, now: float) -> Report:
        """The report to write now; `settle` is told of it."""
        assert self._pending is not None
        self._taken, self._written = self._pending, now
        return self._taken

    def settle(self, outcome: Outcome, now: float) -> None:
        """What became of the report that was taken."""
        if outcome.answer is Answer.RETRY:
            self._not_before = now + max(self._backoff, outcome.retry_after)
            self._backoff = min(LONGEST_BACKOFF, 2 * self._backoff)
            return
        self._gone = outcome.answer is Answer.GONE
        self._settled, self._backoff, self._not_before = self._taken, FIRST_BACKOFF, float("-inf")
        if self._pending == self._taken:
            self._pending = None

    def _is_urgent(self, report: Report) -> bool:
        return self._settled is None or _turns(report) != _turns(self._settled)


def _turns(report: Report) -> list[Any]:
    """What is told at once when it changes."""
    states = {row["name"]: row["state"] for row in report.get("trialTable", ())}
    best, freezing = report.get("bestTrial", {}), report.get("freezing", {})
    return [states, report.get("trials"), best.get("name"), freezing.get("phase"), report.get("result")]
