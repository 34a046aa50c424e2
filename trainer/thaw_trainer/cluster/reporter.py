"""The thread that reports: it writes what `pacing` says is due, and never disturbs the run."""

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

from thaw_trainer.cluster.pacing import Answer, Outcome, Pacing, Report

FINAL_SECONDS = 600.0
"""How long the last report is tried."""

_log = logging.getLogger("thaw.reporter")
Send: TypeAlias = Callable[[Report], Outcome]
"""Writes `status.training` once; what goes wrong is in the outcome."""


class StatusReporter:
    """Reports in the background; `close` delivers the last one."""

    def __init__(self, send: Send, clock: Callable[[], float], stamp: Callable[[], str]) -> None:
        """
        Args:
            clock: seconds, monotonic.
            stamp: the time of day as Kubernetes writes it.
        """
        self._send, self._clock, self._stamp = send, clock, stamp
        self._pacing = Pacing()
        self._deadline: float | None = None
        self._told: set[str] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="status-reporter", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def offer(self, report: Report) -> None:
        """The newest report; returns at once."""
        with self._changed:
            self._pacing.offer(report)
            self._changed.notify_all()

    def close(self, report: Report) -> None:
        """Delivers the last report; returns when it has an answer that stays, at the latest after FINAL_SECONDS."""
        self.end_with(report)
        self._thread.join(FINAL_SECONDS)

    def end_with(self, report: Report) -> None:
        """The last report; returns at once."""
        with self._changed:
            self._pacing.offer(report, final=True)
            self._deadline = self._clock() + FINAL_SECONDS
            self._changed.notify_all()

    def step(self) -> float | None:
        """Writes what is due (0.0); else the seconds until something may be, or None when there is nothing to write."""
        with self._changed:
            due = self._pacing.due()
            if due is None or due > self._clock():
                return None if due is None else due - self._clock()
            report = self._pacing.take(self._clock())
        outcome = self._try(report | {"lastUpdatedTime": self._stamp()})
        with self._changed:
            self._pacing.settle(outcome, self._clock())
        self._tell(outcome)
        return 0.0

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        late = self._deadline is not None and self._clock() >= self._deadline
        return late or self._pacing.over

    def _run(self) -> None:
        while not self.over:
            self.step()
            with self._changed:
                # Asked again, under the lock: a report may have come since.
                due = self._pacing.due()
                seconds = None if due is None else due - self._clock()
                if not self.over and (seconds is None or seconds > 0.0):
                    self._changed.wait(seconds)

    def _try(self, report: Report) -> Outcome:
        try:
            return self._send(report)
        except Exception as error:  # a report that cannot be written is no reason to end a training
            return Outcome(Answer.DROPPED, f"{type(error).__name__}: {error}")

    def _tell(self, outcome: Outcome) -> None:
        """Each kind of refusal once."""
        if outcome.answer is Answer.DELIVERED or outcome.message in self._told:
            return
        self._told.add(outcome.message)
        _log.warning("status report %s: %s", outcome.answer.value, outcome.message)
