"""A signal that somebody swallows is raised again."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from thaw_cli.interrupts import Interrupts


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Puts the process's handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_where_it_arrives_and_at_the_next_event_once(number: signal.Signals) -> None:
    interrupts, told = Interrupts(), list[str]()
    interrupts.listen()
    observe = interrupts.checked(told.append)
    observe("before")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(KeyboardInterrupt):
        observe("swallowed")
    observe("cleaning up")
    assert told == ["before", "cleaning up"]
