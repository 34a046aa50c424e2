from __future__ import annotations

from typing import Any

from tests.unit.reporting.runs import record
from thaw_trainer.reporting.prefix_cache import PrefixCacheUse, prefix_cache_use
from thaw_trainer.search.journal import TrialRecord


def told(ordinal: int, *facts: dict[str, Any]) -> TrialRecord:
    """A trial whose epochs say this of the cache, each in a phase of its own."""
    trial = record(ordinal, *[0.5] * len(facts))
    for number, (report, prefix) in enumerate(zip(trial.reports, facts, strict=True)):
        report |= {"phase": f"phase-{number}", "prefix": prefix}
    return trial


def test_rows_are_counted_by_epoch_and_filling_once() -> None:
    replayed = {"blocks": 5, "rows": 54, "bytes": 1000, "passSeconds": 3.0, "fillSeconds": 4.0}
    smaller = replayed | {"blocks": 4, "bytes": 900, "passSeconds": 2.0, "fillSeconds": 3.5}
    computed = {"blocks": 0, "rows": 54, "reason": "no frozen block is below what is trained"}
    assert prefix_cache_use([told(0, replayed, smaller, computed), told(1, replayed)]) == PrefixCacheUse(
        hits=3 * 54,
        misses=54,
        bytes=1000,
        fill_seconds=4.0,
        saved_seconds=3.0 + 2.0 + 3.0 - 4.0,
        reasons={"phase-2": "no frozen block is below what is trained"},
    )


def test_a_filling_that_has_not_paid_yet_saves_nothing() -> None:
    early = {"blocks": 5, "rows": 54, "bytes": 1000, "passSeconds": 1.0, "fillSeconds": 4.0}
    assert prefix_cache_use([told(0, early)]).saved_seconds == 0.0


def test_reports_of_an_earlier_version_say_nothing() -> None:
    assert prefix_cache_use([record(0, 0.5)]) == PrefixCacheUse()
