"""Text and numbers as a status may hold them: of bounded length, without control characters."""

import unicodedata

_NOT_SHOWN = ("Cc", "Cs")
"""Unicode's control characters, and halves of surrogate pairs, which UTF-8 cannot hold."""


def plain(value: object, limit: int) -> str:
    """A value as one line of at most `limit` characters, never empty."""
    spaced = "".join(
        (" " if each.isspace() else "") if unicodedata.category(each) in _NOT_SHOWN else each for each in str(value)
    )
    text = " ".join(spaced.split()) or "-"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float | None) -> str:
    """A metric's value so that it reads back as it was; one that is not there (a null of result.json) is nan."""
    return repr(float("nan") if value is None else float(value))
