"""Reports go out in the background, and the last one arrives or is given up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from itertools import count

import pytest

from thaw_trainer.cluster.pacing import Answer, Outcome, Report
from thaw_trainer.cluster.reporter import FINAL_SECONDS, StatusReporter

DELIVERED = Outcome(Answer.DELIVERED)


class Server:
    """Takes reports; answers what it was told to, then that all is well."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.written: list[Report] = []

    def __call__(self, report: Report) -> Outcome:
        self.written.append(report)
        answer = self.answers.pop(0) if self.answers else DELIVERED
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def reporter_of(send: Callable[[Report], Outcome], clock: Callable[[], float]) -> StatusReporter:
    return StatusReporter(send, clock, lambda: "2026-11-24T12:00:00Z")


def run_to_the_end(reporter: StatusReporter, clock: Clock) -> None:
    """What the thread does, on a clock of our own."""
    while not reporter.over:
        seconds = reporter.step()
        assert seconds is not None
        clock.now += seconds


def test_a_report_goes_out_with_the_time_of_its_writing() -> None:
    server = Server()
    reporter = reporter_of(server, Clock())
    reporter.offer({"progressPercentage": 1})
    assert reporter.step() == 0.0
    assert server.written == [{"progressPercentage": 1, "lastUpdatedTime": "2026-11-24T12:00:00Z"}]
    assert reporter.step() is None


def test_what_is_not_due_is_not_written() -> None:
    server, clock = Server(), Clock()
    reporter = reporter_of(server, clock)
    reporter.offer({"progressPercentage": 1})
    reporter.step()
    clock.now = 2.0
    reporter.offer({"progressPercentage": 2})
    assert reporter.step() == 3.0
    assert len(server.written) == 1


def test_the_thread_delivers_the_last_report_and_ends() -> None:
    server, ticks = Server(Outcome(Answer.RETRY, "HTTP 500")), count()
    reporter = reporter_of(server, lambda: 10.0 * next(ticks))
    reporter.start()
    reporter.close({"progressPercentage": 100})
    assert [report["progressPercentage"] for report in server.written] == [100, 100]
    assert reporter.over


def test_an_offer_wakes_the_thread_and_returns_at_once() -> None:
    arrived, leave = threading.Event(), threading.Event()

    def slow(report: Report) -> Outcome:
        arrived.set()
        leave.wait(30)
        return DELIVERED

    reporter = reporter_of(slow, Clock())
    reporter.start()
    reporter.offer({"progressPercentage": 1})
    assert arrived.wait(30)
    reporter.offer({"progressPercentage": 2})  # while the first is being written
    leave.set()
    reporter.close({"progressPercentage": 100})


def test_a_last_report_that_is_never_taken_is_given_up_after_its_time() -> None:
    clock = Clock()
    server = Server(*[Outcome(Answer.RETRY, "HTTP 503")] * 1000)
    reporter = reporter_of(server, clock)
    reporter.end_with({"progressPercentage": 100})
    run_to_the_end(reporter, clock)
    assert FINAL_SECONDS <= clock.now <= FINAL_SECONDS + 30
    assert 20 <= len(server.written) <= 30


@pytest.mark.parametrize("answer", [Answer.DROPPED, Answer.GONE])
def test_a_last_report_that_is_refused_for_good_is_not_tried_again(answer: Answer) -> None:
    server = Server(Outcome(answer, "HTTP 4xx"))
    reporter = reporter_of(server, Clock())
    reporter.start()
    reporter.close({"progressPercentage": 100})
    assert len(server.written) == 1


def test_each_kind_of_refusal_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("thaw"), "propagate", True)
    clock = Clock()
    reporter = reporter_of(Server(*[Outcome(Answer.DROPPED, "HTTP 403: not yours")] * 3), clock)
    for progress in range(3):
        reporter.offer({"progressPercentage": progress})
        reporter.step()
        clock.now += 10.0
    assert [record.getMessage() for record in caplog.records] == ["status report dropped: HTTP 403: not yours"]


def test_an_error_that_nobody_foresaw_ends_neither_the_thread_nor_the_run() -> None:
    server = Server(TypeError("not serializable"))
    reporter = reporter_of(server, Clock())
    reporter.start()
    reporter.close({"progressPercentage": 100})
    assert len(server.written) == 1
    assert reporter.over
