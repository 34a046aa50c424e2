"""Where the search and the gangs meet: assignments go one way, reports the other, decisions come back.

Plain asyncio, so that the protocol is tested without Ray; at run time it is an actor of its own (`launch.py`).

- `take` is a lease. A gang that comes back under a new incarnation has died in between: what it held goes to another
  gang from its checkpoint, a bounded number of times, and is then the trial's failure.
- Lock-step: a report waits until the search has decided on that epoch, so a stop costs no further one.
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
    """Epochs handed over to the search."""
    read: int = 0
    """Epochs that the search has taken."""
    decided: int = 0
    """Epochs that the search has let the trial train on from."""
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
        self._incarnations: dict[int, str] = {}
        """The newest gang of each slot that has asked for work and has not ended."""
        self._homes: dict[int, int] = {}
        """Trial -> the slot whose gang has trained it along with an earlier one."""
        self._closed = False
        self._aborted: Message | None = None
        self._changed = asyncio.Condition()

    # The search's side.

    async def submit(self, assignment: Assignment) -> None:
        """Puts an assignment in line for the next free gang."""
        async with self._changed:
            known = assignment.reported
            desk = self._desks[assignment.trial] = _Desk(assignment, reported=known, read=known, decided=known)
            if self._aborted is not None:
                self._end(desk, {"failure": self._aborted})
            else:
                self._waiting.append(assignment)
            self._changed.notify_all()

    async def next_message(self, trial: int) -> Message:
        """Waits for what the gang says next of a trial."""
        async with self._changed:
            desk = self._desks[trial]
            await self._changed.wait_for(lambda: bool(desk.messages))
            message = desk.messages.popleft()
            desk.read = message["report"]["epoch"] if "report" in message else desk.read
            return message

    async def go_on(self, trial: int) -> None:
        """Lets a gang that waits behind the report that was read last train the next epoch."""
        async with self._changed:
            self._desks[trial].decided = self._desks[trial].read
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
        """Ends every assignment, those still to come as well, with a failure, and sends the gangs home."""
        async with self._changed:
            self._aborted = failure
            for desk in self._desks.values():
                self._end(desk, {"failure": failure})
            self._closed, self._aborted = True, failure
            self._changed.notify_all()

    async def slot_ended(self, slot: int) -> None:
        """A slot's Ray Train run is over; what it held goes to another."""
        async with self._changed:
            self._drop_lease(slot)
            self._incarnations.pop(slot, None)
            self._forget_homes(slot)
            self._changed.notify_all()

    async def ready_slots(self) -> int:
        """How many slots have asked for work so far and have not ended."""
        return len(self._incarnations)

    # The gangs' side.

    async def take(self, slot: int, incarnation: str, timeout: float) -> Assignment | Literal["closed"] | None:
        """The next assignment, leased to this incarnation of the slot's gang; None when none came in time.

        A call that a dead gang left behind gets nothing once its slot has a newer one, or has ended. What a gang has
        trained along with an earlier trial waits for that gang, but not for ever.
        """
        async with self._changed:
            if self._incarnations.get(slot) != incarnation:
                self._forget_homes(slot)
            self._incarnations[slot] = incarnation
            self._drop_lease(slot)
            self._changed.notify_all()

            def is_stale() -> bool:
                return self._incarnations.get(slot) != incarnation

            def has_news() -> bool:
                return self._next_for(slot) is not None or self._closed or is_stale()

            try:
                await asyncio.wait_for(self._changed.wait_for(has_news), timeout)
            except TimeoutError:
                if not self._waiting:
                    return None
            if self._closed:
                return "closed"
            if is_stale():
                return None
            # After a whole timeout without work of its own, a gang takes another's: that one may never come back.
            assignment = self._next_for(slot) or self._waiting[0]
            self._waiting.remove(assignment)
            self._homes |= {trial: slot for trial in assignment.companions if trial not in self._homes}
            self._leases[slot] = _Lease(incarnation, assignment.trial, assignment.attempt)
            return assignment

    async def report(self, slot: int, incarnation: str, trial: int, attempt: int, report: Message) -> bool:
        """Hands a report over and waits for the search's decision: whether to train on.

        An epoch that the search was told of before (by a gang that was lost) is not handed over twice.
        """
        lease = _Lease(incarnation, trial, attempt)
        async with self._changed:
            if self._leases.get(slot) != lease:
                return False
            desk = self._desks[trial]

            def is_stopped() -> bool:
                return desk.cancelled or self._closed or self._leases.get(slot) != lease

            if not is_stopped() and report["epoch"] > desk.reported:
                desk.reported = report["epoch"]
                desk.messages.append({"report": report})
                desk.over = desk.over or report["last"]
                self._changed.notify_all()
            await self._changed.wait_for(lambda: report["last"] or desk.decided >= report["epoch"] or is_stopped())
            return not report["last"] and not is_stopped()

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

    def _next_for(self, slot: int) -> Assignment | None:
        """The first in line that is not another gang's to go on with."""
        return next((each for each in self._waiting if self._homes.get(each.trial, slot) == slot), None)

    def _forget_homes(self, slot: int) -> None:
        self._homes = {trial: home for trial, home in self._homes.items() if home != slot}

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
            # Epochs that are not decided on are reported again, so that the next gang waits for the decision too.
            desk.assignment = desk.assignment.again(desk.decided)
            self._waiting.appendleft(desk.assignment)

    def _end(self, desk: _Desk, message: Message) -> None:
        if not desk.over:
            desk.over = True
            desk.messages.append(message)


def not_ready_failure(message: str) -> Message:
    """The failure of every trial when no gang can be started."""
    return TrainerError(SLOTS_NOT_READY, message, "spec.cluster", "infrastructure").as_dict()
