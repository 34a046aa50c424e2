"""Wait for a condition, never for a span of time."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE = 0.05


class NeverHappened(Exception):
    """The deadline passed first; the message says what was awaited and what was seen last."""


def wait_until(what: str, observe: Callable[[], str | None], seconds: float, pause: float = PAUSE) -> None:
    """Call `observe` until it returns None; meanwhile it returns what is still missing."""
    deadline = time.monotonic() + seconds
    while (missing := observe()) is not None:
        if time.monotonic() > deadline:
            raise NeverHappened(f"{what}: not within {seconds:g} s; the last answer: {missing}")
        time.sleep(pause)
