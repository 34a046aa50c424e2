"""Scenes at an exchange, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from thaw_trainer.errors import TRIAL_ERROR, TrainerError
from thaw_trainer.slots.assignment import Assignment
from thaw_trainer.slots.exchange import Exchange

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
