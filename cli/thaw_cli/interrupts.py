"""Ctrl-C, or a termination, that is not lost."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

EventT = TypeVar("EventT")


class Interrupts:
    """Raises KeyboardInterrupt where a signal arrives, and once more at the next event, if it is still running then:
    Ray's waits see to signals in compiled code, and not each of them hands on what the handler raises."""

    def __init__(self) -> None:
        self._pending = False

    def listen(self) -> None:
        """From now on; a termination leaves as clean a state as Ctrl-C."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._arrived)

    def checked(self, observer: Callable[[EventT], None]) -> Callable[[EventT], None]:
        """An observer that looks first whether there was a signal."""

        def observe(event: EventT) -> None:
            if self._pending:
                self._pending = False
                raise KeyboardInterrupt
            observer(event)

        return observe

    def _arrived(self, _signal: int, _frame: FrameType | None) -> None:
        self._pending = True
        raise KeyboardInterrupt
