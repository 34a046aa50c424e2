"""The work queue between events and reconciles: keys, each at most once, one worker at a time for each key."""

import asyncio
from collections.abc import Awaitable, Callable

from thaw_operator.observed import Key

FIRST_BACKOFF, LAST_BACKOFF = 1.0, 60.0
"""Seconds before a key whose reconcile failed is tried again: doubled with every failure in a row."""


class WorkQueue:
    """Keys with the time when each is due. All times are of `clock`, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._busy: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Makes a key due after `delay` seconds, or earlier when it was so already."""
        due = self._clock() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    async def take(self) -> Key:
        """The next key that is due and that nobody works on; the caller ends with `done` or `failed`."""
        while True:
            free = [(due, key) for key, due in self._due.items() if key not in self._busy]
            due, key = min(free, default=(None, None))
            if due is not None and key is not None and due <= self._clock():
                del self._due[key]
                self._busy[key] = self._clock()
                return key
            self._changed.clear()
            try:
                async with asyncio.timeout(None if due is None else due - self._clock()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def done(self, key: Key) -> None:
        """The key's reconcile went well."""
        self._failures.pop(key, None)
        self._free(key)

    def failed(self, key: Key) -> float:
        """The key's reconcile did not; it is due again after the seconds returned."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(FIRST_BACKOFF * 2.0**failures, LAST_BACKOFF)
        # What was due meanwhile waits as well: it would meet the same failure.
        self._due[key] = self._clock() + delay
        self._free(key)
        return delay

    def stuck_seconds(self) -> float:
        """For how long the oldest reconcile has been going on, or the oldest free key has been due."""
        waiting = [due for key, due in self._due.items() if key not in self._busy]
        return max((self._clock() - since for since in (*self._busy.values(), *waiting)), default=0.0)

    def _free(self, key: Key) -> None:
        del self._busy[key]
        self._changed.set()


async def work(
    queue: WorkQueue, reconcile: Callable[[Key], Awaitable[None]], on_error: Callable[[Key, float], None]
) -> None:
    """One worker: takes keys for ever. An error of a reconcile is told to `on_error`, and the key tried again."""
    while True:
        key = await queue.take()
        try:
            await reconcile(key)
        except Exception:
            on_error(key, queue.failed(key))
        else:
            queue.done(key)
