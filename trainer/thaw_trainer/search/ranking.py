"""Which trial is best: one rule for the search, the console and a cluster's status."""

import math
from collections.abc import Iterable

from thaw_trainer.search.journal import TrialRecord


def objective_of(record: TrialRecord, metric: str) -> float | None:
    """A trial's objective in its best epoch; None when it has none or has failed."""
    best = record.best_report()
    return None if best is None or record.state == "failed" else float(best["metrics"][metric])


def best_of(records: Iterable[TrialRecord], metric: str, mode: str) -> TrialRecord | None:
    """The best trial that did not fail; of equals, the first. A value that is no number is worse than every number."""
    return next(iter(ranked(records, metric, mode)), None)


def ranked(records: Iterable[TrialRecord], metric: str, mode: str) -> list[TrialRecord]:
    """Trials that did not fail, the best first; see `best_of`."""
    sign = 1 if mode == "max" else -1

    def rank(scored: tuple[float, TrialRecord]) -> tuple[bool, float, int]:
        value, record = scored
        return (math.isnan(value), 0.0 if math.isnan(value) else -sign * value, record.ordinal)

    scored = [(value, record) for record in records if (value := objective_of(record, metric)) is not None]
    return [record for _, record in sorted(scored, key=rank)]
