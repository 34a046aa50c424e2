"""Text of others inside Markdown: shown as it is, whatever it holds."""

import html
import re

from thaw_trainer.outputs.wording import clean

_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def plain(text: str) -> str:
    """Text that neither formats, nor links, nor ends a table's cell."""
    return _SPECIAL.sub(r"\\\1", html.escape(clean(text), quote=False))


def code(text: str) -> str:
    """Text as inline code; not for a table, whose cells end at `|` even there."""
    text = clean(text)
    fence = "`" * (_longest_run(text) + 1)
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def block(text: str, language: str) -> str:
    """Lines as a block of code."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
