"""Tiny jobs of each kind of text classification: pairs of texts, several labels, a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.tiny_jobs import LABELS, TinyJob
from tests.unit.tiny_models import WORDS, save_pretrained
from thaw_api.job import FineTuneJobSpec

Row = dict[str, Any]
MULTI_LABEL: dict[str, Any] = {"data.labels": {"kind": "multi-label"}}
REGRESSION: dict[str, Any] = {"data.labels": {"kind": "regression"}}
PAIRS: dict[str, Any] = {"data.columns": {"textPair": "other"}}


def _texts(count: int, seed: int) -> list[list[str]]:
    """Different texts of 2 to 14 words."""
    random = np.random.default_rng(seed)
    found: dict[str, list[str]] = {}
    while len(found) < count:
        words = [str(word) for word in random.choice(WORDS, size=random.integers(2, 15))]
        found[" ".join(words)] = words
    return list(found.values())


def multi_label_rows(count: int = 90) -> list[Row]:
    """A text's labels are the colours in it; many have several, some none."""
    return [{"text": " ".join(words), "label": sorted({*words} & {*LABELS})} for words in _texts(count, 1)]


def regression_rows(count: int = 90) -> list[Row]:
    """A text's label is far from zero, and grows with the share of its words that are red."""
    return [
        {"text": " ".join(words), "label": 1000.0 + 100.0 * words.count("red") / len(words)}
        for words in _texts(count, 2)
    ]


def pair_rows(count: int = 90) -> list[Row]:
    """Whether the second text is about what the first is about: whether both begin with the same colour."""
    random = np.random.default_rng(3)
    rows = []
    for words, others in zip(_texts(count, 4), _texts(count, 5), strict=True):
        one, other = random.choice(LABELS), random.choice(LABELS)
        rows.append(
            {
                "text": " ".join([one, *words]),
                "other": " ".join([other, *others]),
                "label": "same" if one == other else "another",
            }
        )
    return rows


def write_jsonl(file: Path, rows: list[Row]) -> Path:
    """A table as a jsonl file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class TinyTexts(TinyJob):
    """A folder with rows of one kind and a tiny BERT, and trials of it."""

    rows: Callable[[], list[Row]]
    own: dict[str, Any]
    """What the manifest says of the kind."""

    def __init__(self, root: Path, **model: Any) -> None:
        self.root = root
        write_jsonl(root / "rows.jsonl", type(self).rows())
        save_pretrained(root / "model", **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec, see TinyJob; rows are held out at random."""
        own = {"data.train.uri": "file:rows.jsonl", "data.split": {"validation": 0.2, "test": 0.2}} | self.own
        return super().spec(own | (changes or {}))


class TinyPairs(TinyTexts):
    """Pairs of texts."""

    rows = staticmethod(pair_rows)
    own = PAIRS


class TinyMultiLabel(TinyTexts):
    """Several labels to a text."""

    rows = staticmethod(multi_label_rows)
    own = MULTI_LABEL


class TinyRegression(TinyTexts):
    """A number to a text."""

    rows = staticmethod(regression_rows)
    own = REGRESSION


KINDS: tuple[type[TinyTexts], ...] = (TinyPairs, TinyMultiLabel, TinyRegression)
