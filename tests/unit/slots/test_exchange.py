"""Where the search and the gangs meet: work one way, reports the other."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.slots.scenes import assignment, failure, go, played, report, settled, taken, waits
from thaw_trainer.errors import SLOTS_NOT_READY
from thaw_trainer.slots.assignment import Assignment
from thaw_trainer.slots.exchange import Exchange, not_ready_failure


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


def test_a_trial_that_a_gang_has_trained_along_waits_for_that_gang() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(replace(assignment(0), companions={2: {}, 4: {}}))
        assert (await taken(exchange, 0, "a")).trial == 0
        await exchange.submit(assignment(2))
        await exchange.submit(assignment(3))
        assert (await taken(exchange, 1, "b")).trial == 3
        other = go(exchange.take(2, "c", 5.0))
        assert await waits(other)
        await exchange.finish(0, "a", 0, 0)
        assert (await taken(exchange, 0, "a")).trial == 2
        assert await waits(other)
        await exchange.close()

    played(scene)


def test_a_trial_whose_gang_is_gone_goes_to_any() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(replace(assignment(0), companions={1: {}, 2: {}, 3: {}}))
        await taken(exchange, 0, "a")
        await exchange.submit(assignment(1))
        other = go(exchange.take(1, "b", 5.0))
        assert await waits(other)
        await exchange.slot_ended(0)
        assert (await other).trial in (0, 1)
        await exchange.submit(assignment(2))
        assert (await taken(exchange, 2, "c")).trial in (0, 1)
        assert (await taken(exchange, 3, "d")).trial == 2

    played(scene)


def test_a_new_gang_of_a_slot_knows_nothing_of_what_the_old_one_trained_along() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(replace(assignment(0), companions={1: {}}))
        await taken(exchange, 0, "a")
        await exchange.submit(assignment(1))
        assert {(await taken(exchange, 0, "a2")).trial, (await taken(exchange, 1, "b")).trial} == {0, 1}

    played(scene)


def test_a_gang_that_never_comes_back_is_not_waited_for_for_ever() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.submit(replace(assignment(0), companions={1: {}}))
        await taken(exchange, 0, "a")
        await exchange.submit(assignment(1))
        found = await exchange.take(1, "b", 0.01)
        assert isinstance(found, Assignment)
        assert found.trial == 1

    played(scene)
