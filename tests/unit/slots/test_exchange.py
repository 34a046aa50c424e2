from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw_trainer.errors import SLOTS_NOT_READY, TRIAL_ERROR, WORKER_LOST, TrainerError
from thaw_trainer.slots.assignment import Assignment
from thaw_trainer.slots.exchange import Exchange, not_ready_failure

Message = dict[str, Any]


def assignment(trial: int = 0, reported: int = 0) -> Assignment:
    return Assignment("trial", trial, spec={}, store="", folder=f"trial-{trial}", reported=reported)


def report(epoch: int, last: bool = False) -> Message:
    return {"epoch": epoch, "last": last}


def failure(reason: str = TRIAL_ERROR) -> Message:
    return {"failure": TrainerError(reason, "it broke").as_dict()}


async def settled() -> None:
    """Lets every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def waits(task: asyncio.Task[Any]) -> bool:
    await settled()
    return not task.done()


def played(scene: Callable[[Exchange], Coroutine[Any, Any, None]], retries: int = 2) -> None:
    """Plays a scene at an exchange of its own; one that hangs fails."""

    async def play() -> None:
        await asyncio.wait_for(scene(Exchange(retries)), 20)

    asyncio.run(play())


def go(awaitable: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(awaitable)


async def taken(exchange: Exchange, slot: int = 0, incarnation: str = "a") -> Assignment:
    found = await exchange.take(slot, incarnation, 5.0)
    assert isinstance(found, Assignment)
    return found


def test_an_assignment_goes_to_one_gang() -> None:
    async def scene(exchange: Exchange) -> None:
        first, second = go(exchange.take(0, "a", 5.0)), go(exchange.take(1, "b", 5.0))
        await settled()
        await exchange.submit(assignment())
        await settled()
        assert sorted([first.done(), second.done()]) == [False, True]
        await exchange.submit(assignment(1))
        assert {(await first).trial, (await second).trial} == {0, 1}

    played(scene)


def test_assignments_are_taken_in_the_order_of_their_submission() -> None:
    async def scene(exchange: Exchange) -> None:
        for trial in (2, 0, 1):
            await exchange.submit(assignment(trial))
        assert [(await taken(exchange, slot)).trial for slot in range(3)] == [2, 0, 1]

    played(scene)


def test_a_gang_that_finds_no_work_in_time_is_told_so() -> None:
    async def scene(exchange: Exchange) -> None:
        assert await exchange.take(0, "a", 0.0) is None
        await exchange.submit(assignment())
        assert (await taken(exchange)).trial == 0

    played(scene)


def test_a_report_waits_until_the_search_has_decided() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange)
        told = go(exchange.report(0, "a", 0, 0, report(1)))
        assert await waits(told)
        assert await exchange.next_message(0) == {"report": report(1)}
        assert await waits(told)
        await exchange.go_on(0)
        assert await told is True
        told = go(exchange.report(0, "a", 0, 0, report(2)))
        assert await waits(told), "one decision is for one epoch"
        await exchange.cancel(0)
        assert await told is False

    played(scene)


def test_a_last_report_waits_for_nothing() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange)
        assert await exchange.report(0, "a", 0, 0, report(1, last=True)) is False
        assert await exchange.next_message(0) == {"report": report(1, last=True)}

    played(scene)


def test_a_stopped_trial_takes_no_further_report() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange)
        await exchange.cancel(0)
        assert await exchange.report(0, "a", 0, 0, report(1)) is False
        await exchange.finish(0, "a", 0, 0)
        message = go(exchange.next_message(0))
        assert await waits(message)
        message.cancel()

    played(scene)


def test_a_trial_that_is_stopped_before_it_was_taken_is_never_taken() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment(0))
        await exchange.submit(assignment(1))
        await exchange.cancel(0)
        await exchange.cancel(7)
        assert (await taken(exchange)).trial == 1

    played(scene)


def test_a_failure_ends_the_trial_and_frees_the_gang() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment(0))
        await exchange.submit(assignment(1))
        await taken(exchange)
        await exchange.finish(0, "a", 0, 0, failure())
        assert await exchange.next_message(0) == failure()
        assert (await taken(exchange)).trial == 1

    played(scene)


def test_a_trial_whose_gang_was_lost_goes_to_another_from_its_last_decided_epoch() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment(0))
        await exchange.submit(assignment(1))
        await taken(exchange)
        told = go(exchange.report(0, "a", 0, 0, report(1)))
        await exchange.next_message(0)
        await exchange.go_on(0)
        assert await told
        again = await taken(exchange, 0, "b")
        assert (again.trial, again.attempt, again.reported) == (0, 1, 1), "before trial 1"

    played(scene)


def test_an_epoch_that_a_lost_gang_reported_is_not_handed_over_twice_and_still_waits() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange)
        lost = go(exchange.report(0, "a", 0, 0, report(1)))
        await settled()
        again = await taken(exchange, 0, "b")
        assert again.reported == 0, "epoch 1 is not decided on yet"
        assert await lost is False, "the lost gang's own call ends"
        told = go(exchange.report(0, "b", 0, 1, report(1)))
        assert await waits(told)
        assert await exchange.next_message(0) == {"report": report(1)}
        await exchange.go_on(0)
        assert await told is True
        told = go(exchange.report(0, "b", 0, 1, report(2)))
        assert await waits(told)
        assert await exchange.next_message(0) == {"report": report(2)}
        told.cancel()

    played(scene)


def test_a_decision_on_an_earlier_epoch_frees_no_later_report() -> None:
    """The search was slow: the trial has lost its gang and reports again before the search has read the first."""

    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange)
        lost = go(exchange.report(0, "a", 0, 0, report(1)))
        await settled()
        await taken(exchange, 0, "b")
        told = go(exchange.report(0, "b", 0, 1, report(2)))
        await settled()
        assert (await exchange.next_message(0))["report"]["epoch"] == 1
        await exchange.go_on(0)
        assert await waits(told)
        assert (await exchange.next_message(0))["report"]["epoch"] == 2
        await exchange.go_on(0)
        assert await told is True
        assert await lost is False

    played(scene)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_trial_that_loses_too_many_gangs_has_failed(retries: int) -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        for attempt in range(retries + 1):
            assert (await taken(exchange, 0, f"gang-{attempt}")).attempt == attempt
        assert await exchange.take(0, "last", 0.0) is None
        message = (await exchange.next_message(0))["failure"]
        assert (message["reason"], message["cause"]) == (WORKER_LOST, "infrastructure")
        assert f"died {retries + 1} times" in message["message"]

    played(scene, retries)


def test_a_slot_that_ended_gives_its_trial_to_another() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange, 0)
        assert await exchange.ready_slots() == 1
        other = go(exchange.take(1, "b", 5.0))
        assert await waits(other)
        assert await exchange.ready_slots() == 2
        await exchange.slot_ended(0)
        assert (await other).attempt == 1
        assert await exchange.ready_slots() == 1

    played(scene)


def test_a_gang_that_was_replaced_is_not_listened_to() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange, 0, "old")
        await taken(exchange, 0, "new")
        assert await exchange.report(0, "old", 0, 0, report(1)) is False
        await exchange.finish(0, "old", 0, 0, failure())
        assert await exchange.report(1, "new", 0, 1, report(1)) is False, "another slot"
        assert await exchange.report(0, "new", 0, 0, report(1)) is False, "an earlier attempt"
        told = go(exchange.report(0, "new", 0, 1, report(5)))
        assert await exchange.next_message(0) == {"report": report(5)}
        told.cancel()

    played(scene)


def test_a_call_that_a_dead_gang_left_behind_takes_no_work() -> None:
    async def scene(exchange: Exchange) -> None:
        dead = go(exchange.take(0, "dead", 60.0))
        await settled()
        alive = go(exchange.take(0, "alive", 60.0))
        await settled()
        await exchange.submit(assignment())
        found = await alive
        assert (found.trial, found.attempt) == (0, 0)
        assert await dead is None
        ended = go(exchange.take(1, "ended", 60.0))
        await settled()
        await exchange.slot_ended(1)
        assert await ended is None

    played(scene)


def test_a_lost_gang_of_a_trial_that_is_over_changes_nothing() -> None:
    async def scene(exchange: Exchange) -> None:
        for trial in range(2):
            await exchange.submit(assignment(trial))
        await taken(exchange, 0)
        await taken(exchange, 1)
        await exchange.report(0, "a", 0, 0, report(1, last=True))
        await exchange.cancel(1)
        for slot in range(2):
            await exchange.slot_ended(slot)
        assert await exchange.take(3, "x", 0.0) is None

    played(scene)


def test_closing_sends_every_gang_home() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment())
        await taken(exchange, 0)
        reporting, idle = go(exchange.report(0, "a", 0, 0, report(1))), go(exchange.take(1, "b", 60.0))
        await settled()
        await exchange.close()
        assert await reporting is False
        assert await idle == "closed"
        assert await exchange.take(2, "c", 60.0) == "closed"

    played(scene)


def test_an_abort_ends_every_trial_that_is_not_over_and_those_that_come_later() -> None:
    async def scene(exchange: Exchange) -> None:
        for trial in range(3):
            await exchange.submit(assignment(trial))
        await taken(exchange, 0)
        await exchange.report(0, "a", 0, 0, report(1, last=True))
        await exchange.abort(not_ready_failure("no gang came"))
        await exchange.submit(assignment(3))
        assert await exchange.next_message(0) == {"report": report(1, last=True)}
        for trial in (1, 2, 3):
            message = (await exchange.next_message(trial))["failure"]
            assert (message["reason"], message["cause"]) == (SLOTS_NOT_READY, "infrastructure")
            assert "no gang came" in message["message"]
        assert await exchange.take(1, "b", 60.0) == "closed"

    played(scene)


def test_a_result_is_handed_over_with_the_lease() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(assignment(-1))
        await taken(exchange)
        await exchange.finish(0, "a", -1, 0, {"result": {"test": 1}})
        assert await exchange.next_message(-1) == {"result": {"test": 1}}

    played(scene)


EPOCHS, TRIALS, SLOTS = 4, 6, 3


class Theatre:
    """A search and gangs that live, die and are replaced at random, at one exchange."""

    def __init__(self, seed: int, retries: int) -> None:
        self.random = random.Random(seed)
        self.exchange = Exchange(retries)
        self.holders: Counter[int] = Counter()
        self.trained: Counter[tuple[int, int]] = Counter()
        self.allowed = dict.fromkeys(range(TRIALS), 0)
        self.ends: dict[int, str] = {}
        self.heard: dict[int, list[int]] = {trial: [] for trial in range(TRIALS)}
        self.losses: Counter[int] = Counter()

    async def pause(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    async def gang(self, slot: int) -> None:
        """A slot's gangs, one after another."""
        incarnation = 0
        while True:
            name = f"{slot}-{incarnation}"
            found = await self.exchange.take(slot, name, 5.0)
            if found == "closed":
                return
            if found is None:
                continue
            self.holders[found.trial] += 1
            assert self.holders[found.trial] == 1, "leased twice at a time"
            alive = await self.train(slot, name, found)
            self.holders[found.trial] -= 1
            if alive:
                await self.exchange.finish(slot, name, found.trial, found.attempt)
            else:
                self.losses[found.trial] += 1
                incarnation += 1
                if self.random.random() < 0.2:
                    await self.exchange.slot_ended(slot)
            await self.pause()

    async def train(self, slot: int, name: str, found: Assignment) -> bool:
        """Whether the gang outlives the trial."""
        for epoch in range(found.reported + 1, EPOCHS + 1):
            assert self.allowed[found.trial] >= epoch - 1, "trained on before the search allowed it"
            self.trained[found.trial, epoch] += 1
            await self.pause()
            if self.random.random() < 0.12:
                return False
            if self.random.random() < 0.04:
                await self.exchange.finish(slot, name, found.trial, found.attempt, failure())
                return True
            call = go(self.exchange.report(slot, name, found.trial, found.attempt, report(epoch, epoch == EPOCHS)))
            await self.pause()
            if self.random.random() < 0.1:
                return False
            if not await call:
                return True
        return True

    async def search(self, trial: int) -> None:
        """Follows one trial to its end."""
        await self.pause()
        await self.exchange.submit(assignment(trial))
        while True:
            message = await self.exchange.next_message(trial)
            await self.pause()
            if "failure" in message:
                self.ends[trial] = str(message["failure"]["reason"])
                return
            self.heard[trial].append(message["report"]["epoch"])
            if message["report"]["last"]:
                self.ends[trial] = "succeeded"
                return
            if self.random.random() < 0.15:
                self.ends[trial] = "stopped"
                await self.exchange.cancel(trial)
                return
            self.allowed[trial] = message["report"]["epoch"]
            await self.exchange.go_on(trial)

    async def play(self) -> None:
        gangs = [go(self.gang(slot)) for slot in range(SLOTS)]
        searches: list[Awaitable[None]] = [self.search(trial) for trial in range(TRIALS)]
        await asyncio.wait_for(asyncio.gather(*searches), 20)
        await settled()
        await self.exchange.close()
        await asyncio.wait_for(asyncio.gather(*gangs), 20)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_whatever_dies_when_no_trial_is_lost_none_is_leased_twice_and_each_ends_once(seed: int, retries: int) -> None:
    theatre = Theatre(seed, retries)
    asyncio.run(theatre.play())
    assert theatre.ends.keys() == set(range(TRIALS))
    for trial, epochs in theatre.heard.items():
        assert epochs == list(range(1, len(epochs) + 1)), "in order, none twice, none left out"
        if theatre.ends[trial] == "succeeded":
            assert len(epochs) == EPOCHS
        if theatre.ends[trial] == WORKER_LOST:
            assert theatre.losses[trial] == retries + 1
        else:
            assert theatre.losses[trial] <= retries + 1
        if theatre.ends[trial] == "stopped":
            assert theatre.trained[trial, len(epochs) + 1] == 0, "a stop costs no further epoch"
