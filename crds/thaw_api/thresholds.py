"""`evaluation.require`: what a metric has to reach, such as `>= 0.9`."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

THRESHOLD = r"^ *(>=|<=|>|<) *([-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?) *$"
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Threshold:
    """A sign of comparison, and a number."""

    sign: str
    number: float

    def is_met(self, value: float) -> bool:
        """Whether a metric's value reaches it; one that is no number never does."""
        return math.isfinite(value) and _COMPARE[self.sign](value, self.number)

    def __str__(self) -> str:
        return f"{self.sign} {self.number:g}"


def read_threshold(text: str) -> Threshold:
    """Raises ValueError for what is none."""
    found = re.match(THRESHOLD, text)
    if not found:
        raise ValueError(f"a threshold is one of >=, <=, >, < and a number, such as '>= 0.9'; found {text!r}")
    return Threshold(found[1], float(found[2]))


def unmet(require: Mapping[str, str] | None, metrics: Mapping[str, float]) -> list[str]:
    """What is said of each metric that does not reach its threshold."""
    told = []
    for metric, text in (require or {}).items():
        threshold, value = read_threshold(text), metrics.get(metric, math.nan)
        if not threshold.is_met(value):
            told.append(f"{metric} is {value:.10g}, not {threshold}")
    return told
