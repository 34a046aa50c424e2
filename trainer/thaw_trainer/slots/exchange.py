"""Where the search and the gangs meet: assignments go one way, reports the other, decisions come back.

Plain asyncio, so that the protocol is tested without Ray; at run time it is an actor of its own (`launch.py`).

- `take` is a lease. A gang that comes back under a new incarnation has died in between: what it held goes to another
  gang from its checkpoint, a bounded number of times, and is then the trial's failure.
- Lock-step: a report waits until the search decides, so a stop costs no further epoch.
- Everything carries trial and attempt; what comes from a lease that has ended is ignored.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from thaw_trainer.errors import SLOTS_NOT_READY, WORKER_LOST, TrainerError
from thaw_trainer.slots.assignment import Assignment

Message: TypeAlias = dict[str, Any]
"""To the search: {"report": …}, {"failure": …} or {"result": …}; each but a report that is not the last is final."""


@dataclass
class _Desk:
    """One assignment's state between the two sides."""

    assignment: Assignment
    messages: deque[Message] = field(default_factory=deque)
    reported: int = 0
    decision: bool | None = None
    cancelled: bool = False
    over: bool = False
    losses: int = 0


@dataclass(frozen=True)
class _Lease:
    incarnation: str
    trial: int
    attempt: int


class Exchange:
    """The meeting place; every method is called from another process."""

    def __init__(self, retries: int) -> None:
        """`retries`: how often an assignment goes to another gang after one was lost."""
        self._retries = retries
        self._waiting: deque[Assignment] = deque()
        self._desks: dict[int, _Desk] = {}
        self._leases: dict[int, _Lease] = {}
        self._ready: set[int] = set()
        self._closed = False
        self._changed = asyncio.Condition()

    # The search's side.

    async def submit(self, assignment: Assignment) -> None:
        """Puts an assignment in line for the next free gang."""
        async with self._changed:
            self._desks[assignment.trial] = _Desk(assignment, reported=assignment.reported)
            self._waiting.append(assignment)
            self._changed.notify_all()

    async def next_message(self, trial: int) -> Message:
        """Waits for what the gang says next of a trial."""
        async with self._changed:
            desk = self._desks[trial]
            await self._changed.wait_for(lambda: bool(desk.messages))
            return desk.messages.popleft()

    async def go_on(self, trial: int) -> None:
        """Lets a gang that waits behind its report train the next epoch."""
        async with self._changed:
            self._desks[trial].decision = True
            self._changed.notify_all()

    async def cancel(self, trial: int) -> None:
        """Stops a trial: at its next report, or before it was taken."""
        async with self._changed:
            desk = self._desks.get(trial)
            if desk is not None:
                desk.cancelled = True
                self._waiting = deque(each for each in self._waiting if each.trial != trial)
                self._changed.notify_all()

    async def close(self) -> None:
        """Sends every gang home."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def abort(self, failure: Message) -> None:
        """Ends every assignment that is not over with a failure, and sends the gangs home."""
        async with self._changed:
            for desk in self._desks.values():
                self._end(desk, {"failure": failure})
            self._closed = True
            self._changed.notify_all()

    async def slot_ended(self, slot: int) -> None:
        """A slot's Ray Train run is over; what it held goes to another."""
        async with self._changed:
            self._drop_lease(slot)
            self._ready.discard(slot)
            self._changed.notify_all()

    async def ready_slots(self) -> int:
        """How many slots have asked for work so far and have not ended."""
        return len(self._ready)

    # The gangs' side.

    async def take(self, slot: int, incarnation: str, timeout: float) -> Assignment | Literal["closed"] | None:
        """The next assignment, leased to this incarnation of the slot's gang; None when none came in time."""
        async with self._changed:
            self._ready.add(slot)
            self._drop_lease(slot)
            self._changed.notify_all()
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: bool(self._waiting) or self._closed), timeout)
            except TimeoutError:
                return None
            if self._closed:
                return "closed"
            assignment = self._waiting.popleft()
            self._leases[slot] = _Lease(incarnation, assignment.trial, assignment.attempt)
            return assignment

    async def report(self, slot: int, incarnation: str, trial: int, attempt: int, report: Message) -> bool:
        """Hands a report over and waits for the search's decision: whether to train on.

        An epoch that the search knows already (trained again after a loss) is not handed over twice.
        """
        async with self._changed:
            if self._leases.get(slot) != _Lease(incarnation, trial, attempt):
                return False
            desk = self._desks[trial]
            if desk.cancelled or self._closed:
                return False
            if report["epoch"] <= desk.reported:
                return True
            desk.reported, desk.decision = report["epoch"], None
            desk.messages.append({"report": report})
            desk.over = desk.over or report["last"]
            self._changed.notify_all()
            if report["last"]:
                return False
            await self._changed.wait_for(lambda: desk.decision is not None or desk.cancelled or self._closed)
            return bool(desk.decision) and not desk.cancelled and not self._closed

    async def finish(
        self, slot: int, incarnation: str, trial: int, attempt: int, message: Message | None = None
    ) -> None:
        """Ends a lease; `message` is a failure or a result that the search has not been told yet."""
        async with self._changed:
            if self._leases.get(slot) == _Lease(incarnation, trial, attempt):
                del self._leases[slot]
                if message is not None:
                    self._end(self._desks[trial], message)
                self._changed.notify_all()

    def _drop_lease(self, slot: int) -> None:
        """A lease that was not finished is a lost gang's."""
        lease = self._leases.pop(slot, None)
        if lease is None:
            return
        desk = self._desks[lease.trial]
        if desk.over or desk.cancelled:
            return
        desk.losses += 1
        if desk.losses > self._retries:
            error = TrainerError(
                WORKER_LOST, f"its workers died {desk.losses} times; see logs/", cause="infrastructure"
            )
            self._end(desk, {"failure": error.as_dict()})
        else:
            self._waiting.appendleft(desk.assignment.again(desk.reported))
            desk.assignment = self._waiting[0]

    def _end(self, desk: _Desk, message: Message) -> None:
        if not desk.over:
            desk.over = True
            desk.messages.append(message)


def not_ready_failure(message: str) -> Message:
    """The failure of every trial when no gang can be started."""
    return TrainerError(SLOTS_NOT_READY, message, "spec.cluster", "infrastructure").as_dict()
