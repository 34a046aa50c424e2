"""SQuAD's metrics: an answer is compared with each of the right ones, and the best counts (arXiv 1606.05250)."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_metrics(given: Sequence[str], right: Sequence[Sequence[str]]) -> dict[str, float]:
    """exactMatch: share of the questions that are answered word for word; f1: mean overlap of words. Articles,
    punctuation and case do not count. A question without a right answer is right when it is given none."""
    pairs = list(zip(given, right, strict=True))
    return {
        "exactMatch": sum(max(_is_same(one, other) for other in others or [""]) for one, others in pairs) / len(pairs),
        "f1": sum(max(_overlap(one, other) for other in others or [""]) for one, others in pairs) / len(pairs),
    }


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _is_same(one: str, other: str) -> float:
    return float(_words(one) == _words(other))


def _overlap(one: str, other: str) -> float:
    mine, right = _words(one), _words(other)
    if not mine or not right:
        return float(mine == right)
    common = sum((Counter(mine) & Counter(right)).values())
    return 2 * common / (len(mine) + len(right))
