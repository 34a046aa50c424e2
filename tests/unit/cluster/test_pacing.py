"""When reports go out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.cluster.pacing import LONGEST_BACKOFF, PLAIN_GAP, URGENT_GAP, Answer, Outcome, Pacing, Report

DELIVERED = Outcome(Answer.DELIVERED)
RETRY = Outcome(Answer.RETRY, "HTTP 500")


def report(progress: int = 0, **changes: Any) -> Report:
    return {"progressPercentage": progress, "bestTrial": {"name": "trial-0000"}, **changes}


@pytest.fixture
def pacing() -> Pacing:
    """After a first report, written at 0."""
    pacing = Pacing()
    pacing.offer(report())
    write(pacing, 0.0)
    return pacing


def write(pacing: Pacing, now: float, outcome: Outcome = DELIVERED) -> Report:
    due = pacing.due()
    assert due is not None
    assert due <= now
    taken = pacing.take(now)
    pacing.settle(outcome, now)
    return taken


def test_the_first_report_goes_out_at_once() -> None:
    pacing = Pacing()
    assert pacing.due() is None
    pacing.offer(report())
    due = pacing.due()
    assert due is not None
    assert due <= 0.0


def test_progress_waits_for_its_turn(pacing: Pacing) -> None:
    pacing.offer(report(1))
    assert pacing.due() == PLAIN_GAP


@pytest.mark.parametrize(
    "change",
    [
        {"bestTrial": {"name": "trial-0001"}},
        {"freezing": {"phase": "all"}},
        {"trialTable": [{"name": "trial-0000", "state": "running"}]},
        {"trials": {"running": 1}},
        {"result": {"uri": "pvc://models/out"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_turn_of_events_goes_out_at_once_but_not_more_than_one_a_second(
    pacing: Pacing, change: dict[str, Any]
) -> None:
    pacing.offer(report(1, **change))
    assert pacing.due() == URGENT_GAP


def test_the_newest_report_replaces_one_that_waits(pacing: Pacing) -> None:
    pacing.offer(report(1))
    pacing.offer(report(2))
    assert write(pacing, PLAIN_GAP) == report(2)
    assert pacing.due() is None


def test_what_has_not_changed_is_not_written(pacing: Pacing) -> None:
    pacing.offer(report())
    assert pacing.due() is None


def test_what_has_changed_back_is_not_written(pacing: Pacing) -> None:
    pacing.offer(report(1))
    pacing.offer(report())
    assert pacing.due() is None


def test_a_report_that_came_while_another_was_written_is_kept(pacing: Pacing) -> None:
    pacing.offer(report(1))
    pacing.take(5.0)
    pacing.offer(report(2))
    pacing.settle(DELIVERED, 6.0)
    assert pacing.due() == 5.0 + PLAIN_GAP


def test_a_refusal_that_may_pass_is_tried_again_later_and_later_with_the_newest_report(pacing: Pacing) -> None:
    pacing.offer(report(1))
    now, waits = PLAIN_GAP, []
    for _ in range(8):
        write(pacing, now, RETRY)
        due = pacing.due()
        assert due is not None
        waits.append(due - now)
        now = due
    assert waits == [PLAIN_GAP, PLAIN_GAP, PLAIN_GAP, 8.0, 16.0, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF]
    pacing.offer(report(2))
    assert write(pacing, now) == report(2)
    pacing.offer(report(3))
    assert pacing.due() == now + PLAIN_GAP


def test_a_server_that_asks_to_wait_is_waited_for(pacing: Pacing) -> None:
    pacing.offer(report(1))
    write(pacing, PLAIN_GAP, Outcome(Answer.RETRY, "HTTP 429", retry_after=60.0))
    assert pacing.due() == PLAIN_GAP + 60.0


def test_a_refusal_that_stays_ends_this_report_and_the_next_is_tried(pacing: Pacing) -> None:
    pacing.offer(report(1))
    write(pacing, PLAIN_GAP, Outcome(Answer.DROPPED, "HTTP 403"))
    assert pacing.due() is None
    pacing.offer(report(1))
    assert pacing.due() is None
    pacing.offer(report(2))
    assert pacing.due() == 2 * PLAIN_GAP


def test_without_a_job_nothing_is_written_any_more(pacing: Pacing) -> None:
    pacing.offer(report(1))
    write(pacing, PLAIN_GAP, Outcome(Answer.GONE, "HTTP 404"))
    pacing.offer(report(2))
    assert pacing.due() is None
    assert pacing.over


def test_the_last_report_does_not_wait_for_its_turn(pacing: Pacing) -> None:
    pacing.offer(report(99))
    write(pacing, PLAIN_GAP)
    pacing.offer(report(100), final=True)
    assert not pacing.over
    assert pacing.due() == PLAIN_GAP
    write(pacing, PLAIN_GAP)
    assert pacing.over


def test_a_last_report_that_is_refused_for_good_is_the_end(pacing: Pacing) -> None:
    pacing.offer(report(100), final=True)
    write(pacing, 0.0, Outcome(Answer.DROPPED, "HTTP 422"))
    assert pacing.over


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=60))
def test_writes_keep_their_distance_whatever_happens(moments: list[tuple[float, int, int]]) -> None:
    pacing, now, writes = Pacing(), 0.0, []
    for pause, progress, best in moments:
        now += pause
        pacing.offer(report(progress, bestTrial={"name": str(best)}))
        due = pacing.due()
        if due is not None and due <= now:
            writes.append((now, write(pacing, now)))
    for (before, earlier), (after, later) in pairwise(writes):
        assert earlier != later
        assert after - before >= (URGENT_GAP if earlier["bestTrial"] != later["bestTrial"] else PLAIN_GAP)
