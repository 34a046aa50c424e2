"""The work queue: keys once, one worker for a key, later after failures."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from thaw_operator.observed import Key
from thaw_operator.work_queue import WorkQueue, work

A, B = Key("research", "a"), Key("research", "b")


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def played(scene: Callable[[WorkQueue, Clock], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        clock = Clock()
        await scene(WorkQueue(clock), clock)

    asyncio.run(run())


async def waiting(queue: WorkQueue) -> asyncio.Task[Key]:
    """A worker that has found nothing to do."""
    task = asyncio.create_task(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_a_key_that_is_added_twice_is_taken_once() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        queue.add(A)
        assert await queue.take() == A
        (await waiting(queue)).cancel()

    played(scene)


def test_a_waiting_worker_is_woken_by_a_new_key() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        worker = await waiting(queue)
        queue.add(A)
        assert await worker == A

    played(scene)


def test_a_key_that_is_worked_on_is_taken_by_nobody_else_and_again_afterwards() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        await queue.take()
        queue.add(A)
        worker = await waiting(queue)
        queue.done(A)
        assert await worker == A

    played(scene)


def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A, delay=5)
        queue.add(B, delay=2)
        clock.now += 5
        assert [await queue.take(), await queue.take()] == [B, A]

    played(scene)


def test_the_earlier_of_two_times_counts() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A, delay=50)
        queue.add(A)
        queue.add(A, delay=50)
        assert await queue.take() == A

    played(scene)


def test_a_failure_doubles_the_time_until_the_next_try_and_a_success_forgets_it() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        delays = []
        queue.add(A)
        for _ in range(8):
            await queue.take()
            delays.append(queue.failed(A))
            clock.now += delays[-1]
        assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
        await queue.take()
        queue.done(A)
        queue.add(A)
        await queue.take()
        assert queue.failed(A) == 1

    played(scene)


def test_events_do_not_shorten_the_time_after_a_failure() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        await queue.take()
        queue.add(A)
        queue.failed(A)
        (await waiting(queue)).cancel()

    played(scene)


def test_a_worker_goes_on_after_an_error() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        seen: list[Key] = []
        errors: list[Key] = []
        both = asyncio.Event()

        async def reconcile(key: Key) -> None:
            seen.append(key)
            if key == A:
                raise RuntimeError("the apiserver is away")
            both.set()

        queue.add(A)
        queue.add(B, delay=0)
        worker = asyncio.create_task(work(queue, reconcile, lambda key, delay: errors.append(key)))
        await both.wait()
        worker.cancel()
        assert (seen, errors) == ([A, B], [A])

    played(scene)


def test_what_is_stuck_is_known_by_its_age() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        assert queue.stuck_seconds() == 0
        queue.add(A)
        await queue.take()
        queue.add(B, delay=10)
        clock.now += 30
        assert queue.stuck_seconds() == 30
        queue.done(A)
        assert queue.stuck_seconds() == 20

    played(scene)
