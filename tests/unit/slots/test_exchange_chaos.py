"""Whatever dies when, the protocol holds."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.slots.scenes import assignment, failure, go, report, settled
from thaw_trainer.errors import WORKER_LOST
from thaw_trainer.slots.assignment import Assignment
from thaw_trainer.slots.exchange import Exchange

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
