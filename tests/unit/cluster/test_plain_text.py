"""Text and numbers fit into a status, whatever they were."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.cluster.plain_text import number, plain

ANY_TEXT = st.text(st.characters(), max_size=60)  # control characters and lone surrogates among them


@given(ANY_TEXT, st.integers(1, 40))
def test_text_is_short_not_empty_and_can_be_sent(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert 1 <= len(shown) <= limit
    assert not any(unicodedata.category(each) in ("Cc", "Cs") for each in shown)
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("lines\nof\ttext", "lines of text"),
        ("bell\x07 and escape\x1b[31m", "bell and escape[31m"),
        ("half a pair \ud800", "half a pair"),
        ("a" * 20, "aaaaaaaaa…"),
        ("", "-"),
        ("\x00", "-"),
        (True, "True"),
        (0.001, "0.001"),
    ],
)
def test_what_is_shown(value: object, shown: str) -> None:
    assert plain(value, 10 if value == "a" * 20 else 40) == shown


@given(st.floats())
def test_a_number_reads_back_as_it_was(value: float) -> None:
    again = float(number(value))
    assert again == value or (math.isnan(again) and math.isnan(value))
    assert len(number(value)) <= 64


def test_a_null_of_the_result_is_no_number() -> None:
    assert number(None) == "nan"


def test_an_integer_is_a_metric_too() -> None:
    assert number(3) == "3.0"
