"""The prefix cache under phases that end in mid-epoch, rotations, and frozen modules that are no pure function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.loop.test_stages import rotating
from tests.unit.prefix.sites import TOP
from tests.unit.prefix.test_cached_trials import trained, without_prefix
from tests.unit.tiny_jobs import TinyJob

MID_EPOCH = {
    "freezing": {
        "phases": [
            {"name": "head", "train": ["head"], "until": {"steps": 4}},
            {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 2}},
            {"name": "head-again", "train": ["head"], "until": {"fraction": 1.0}},
        ]
    }
}


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        (MID_EPOCH, [2, 2, 2, 2]),
        (rotating("random", train=("head", "blocks[-2:]")), [1, 1, 1]),
        (rotating("ascending", steps=3, state="keep", train=("head", "blocks[-2:]")), [1, 1, 1]),
        (TOP | {"freezing.frozenNorms": "train"}, [2, 2, 2, 2]),
    ],
    ids=["mid-epoch", "random", "ascending", "no-statistics"],
)
def test_losses_and_metrics_are_the_same_bits(
    tiny: TinyJob, cache: Path, changes: dict[str, Any], blocks: list[int]
) -> None:
    cached, computed = trained(tiny, changes, cache, "cached"), trained(tiny, changes, None, "computed")
    assert without_prefix(cached) == without_prefix(computed)
    assert [report["prefix"]["blocks"] for report in cached.reports] == blocks


def test_dropout_in_frozen_modules_is_computed_and_never_replayed(tiny: TinyJob, cache: Path) -> None:
    changes = TOP | {"freezing.frozenDropout": "on"}
    cached, computed = trained(tiny, changes, cache, "cached"), trained(tiny, changes, None, "computed")
    assert without_prefix(cached) == without_prefix(computed)
    assert {report["prefix"]["reason"] for report in cached.reports} == {"freezing.frozenDropout is on"}
    assert computed.losses != trained(tiny, TOP, None, "off").losses
