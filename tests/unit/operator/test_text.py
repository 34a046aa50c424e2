"""Texts of others, made fit for a status."""

from hypothesis import given
from hypothesis import strategies as st

from thaw_operator.text import LINE_LIMIT, TAIL_BYTES, clean, one_line, tail_of

ANY = st.text(max_size=6000) | st.text(alphabet="a\n\x1b[31m\x00é\udcff", max_size=6000)


@given(ANY)
def test_a_line_is_one_line_of_bounded_length(text: str) -> None:
    line = one_line(text)
    assert len(line) <= LINE_LIMIT
    assert "\n" not in line
    assert line.isprintable() or line == clean(line)


@given(ANY)
def test_a_tail_is_the_end_of_the_clean_log_in_bounded_bytes(log: str) -> None:
    tail = tail_of(log)
    assert len(tail.encode()) <= TAIL_BYTES
    assert clean(log).strip().endswith(tail)


def test_a_tail_begins_with_a_whole_line() -> None:
    log = "\n".join(f"line {number}" for number in range(2000))
    assert tail_of(log).splitlines()[0].startswith("line ")
    assert tail_of(log).endswith("line 1999")


def test_colours_and_control_characters_are_taken_out() -> None:
    assert clean("\x1b[1;31merror\x1b[0m\x07\ttab\nnext\r") == "error\ttab\nnext"
