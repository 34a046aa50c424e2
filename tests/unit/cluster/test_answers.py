"""Every HTTP status of the apiserver has its meaning."""

from __future__ import annotations

import pytest

from thaw_trainer.cluster.answers import outcome_of
from thaw_trainer.cluster.pacing import Answer

ANSWERS = {
    0: Answer.RETRY,
    400: Answer.DROPPED,
    401: Answer.DROPPED,
    403: Answer.DROPPED,
    404: Answer.GONE,
    405: Answer.DROPPED,
    408: Answer.RETRY,
    409: Answer.DROPPED,
    410: Answer.DROPPED,
    413: Answer.DROPPED,
    422: Answer.DROPPED,
    429: Answer.RETRY,
    500: Answer.RETRY,
    502: Answer.RETRY,
    503: Answer.RETRY,
    504: Answer.RETRY,
}


@pytest.mark.parametrize(("status", "answer"), ANSWERS.items())
def test_what_may_pass_is_tried_again_and_what_stays_is_not(status: int, answer: Answer) -> None:
    assert outcome_of(status, "why", {}).answer is answer


def test_a_refusal_says_why() -> None:
    assert outcome_of(403, "Forbidden: not yours", {}).message == "HTTP 403: Forbidden: not yours"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7.0), ({"retry-after": "2"}, 2.0), ({"Retry-After": "soon"}, 0.0), ({}, 0.0)],
)
def test_a_server_may_ask_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert outcome_of(429, "Too Many Requests", headers).retry_after == seconds
