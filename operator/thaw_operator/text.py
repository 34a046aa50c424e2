"""Text of others (logs, messages of pods) made fit for a status."""

import re

LINE_LIMIT = 1024
"""Characters of a one-line message."""
TAIL_BYTES = 4096
"""Bytes of a log's tail."""
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """Text without terminal escapes and control characters; newlines and tabs stay."""
    return _CONTROL.sub("", _ESCAPES.sub("", text))


def one_line(text: str, limit: int = LINE_LIMIT) -> str:
    """Text in one line of at most `limit` characters."""
    line = " ".join(clean(text.replace("\r", "\n")).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def tail_of(log: str) -> str:
    """The end of a log: whole lines where they fit, at most 4 KiB in UTF-8."""
    lines = clean(log).strip().encode()
    if len(lines) <= TAIL_BYTES:
        return lines.decode()
    kept = lines[-TAIL_BYTES:]
    _, newline, whole = kept.partition(b"\n")
    return (whole if newline and whole else kept).decode(errors="ignore")
