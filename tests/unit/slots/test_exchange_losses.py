"""Gangs that are lost, and what becomes of their trials."""

from __future__ import annotations

import pytest

from tests.unit.slots.scenes import assignment, failure, go, played, report, settled, taken, waits
from thaw_trainer.errors import WORKER_LOST
from thaw_trainer.slots.exchange import Exchange


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
