"""How numbers, times and names are written for people: the report and the model card share it."""

import math
import re
import unicodedata
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from thaw_api.paths import format_path, parse_path

_MINUTE, _HOUR = 60, 3600
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def made_by() -> str:
    """thaw and its version."""
    try:
        return f"thaw {version('thaw')}"
    except PackageNotFoundError:
        return "thaw (from a source tree)"


def in_words(name: str) -> str:
    """A fact's name as people write it: `tooLongTrain` becomes `Too long train`."""
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: f" {found[1].lower()}", name[:1].upper() + name[1:])


def refined_texts(told: dict[str, Any]) -> dict[str, str]:
    """What was made of the best trials, in words, by the name of how."""
    texts = {}
    if soup := told.get("soup"):
        alone = f"{number(soup.get('alone'))} of the best trial alone"
        members = soup["members"]
        texts["soup"] = (
            f"{number(soup['soup'])} on validation instead of {alone}: the average of {', '.join(members)}"
            if len(members) > 1
            else f"no average of {soup['tried']} trials is better than the {alone}"
        )
        if "failure" in soup:
            texts["soup"] = f"trials could not be averaged: {soup['failure']}"
    if refit := told.get("refit"):
        texts["refit"] = (
            f"trained once more on {refit['rows']} rows, validation among them, for {refit['epochs']} epochs"
        )
    return texts


def number(value: float | None) -> str:
    """A metric: four places, or three digits where those would be lost."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+}"
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def setting(value: Any) -> str:
    """A parameter's value in four digits."""
    return f"{value:.4g}" if isinstance(value, float) else exact(value)


def exact(value: Any) -> str:
    """A parameter's value to its last digit."""
    return str(value).lower() if isinstance(value, bool) else clean(str(value))


def count(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """A part as a percentage."""
    return f"{100 * part / whole:.1f}%" if whole else "–"


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def clean(text: str) -> str:
    """The text in one line, without what XML or UTF-8 cannot hold and what would turn round the text behind it."""
    return "".join("\ufffd" if _is_control(each) else each for each in " ".join(text.split()))


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _DIRECTIONS


def shortened(text: str, limit: int) -> str:
    """The text, cut where it is longer than `limit` characters."""
    text = clean(text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Each path by its last name, or in full where that would not tell it from another."""
    paths = list(paths)
    last = {path: format_path(parse_path(path)[-1:]) for path in paths}
    names = list(last.values())
    return {path: path if name.startswith("[") or names.count(name) > 1 else name for path, name in last.items()}
