"""What the prefix cache did for a whole search, folded from its trials' reports."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from thaw_trainer.search.journal import TrialRecord


@dataclass(frozen=True)
class PrefixCacheUse:
    """Counts are of rows: each row of each epoch, validation included."""

    hits: int = 0
    """Rows whose frozen part was replayed."""
    misses: int = 0
    """Rows that were computed from the beginning."""
    bytes: int = 0
    """Largest size of the entries of a phase."""
    fill_seconds: float = 0.0
    """Of the worker that filled for longest."""
    saved_seconds: float = 0.0
    """What computing the hits would have taken one process, less the filling."""
    reasons: dict[str, str] = field(default_factory=dict)
    """For each phase that did not replay, why."""


def prefix_cache_use(records: Iterable[TrialRecord]) -> PrefixCacheUse:
    """The use of the cache by all epochs that were reported."""
    told = [
        (report["phase"], report["prefix"]) for record in records for report in record.reports if report.get("prefix")
    ]
    used = [prefix for _, prefix in told if prefix["blocks"]]
    filled = max((prefix["fillSeconds"] for prefix in used), default=0.0)
    return PrefixCacheUse(
        hits=sum(prefix["rows"] for prefix in used),
        misses=sum(prefix["rows"] for _, prefix in told if not prefix["blocks"]),
        bytes=max((prefix["bytes"] for prefix in used), default=0),
        fill_seconds=filled,
        saved_seconds=max(0.0, sum(prefix["passSeconds"] for prefix in used) - filled),
        reasons={phase: prefix["reason"] for phase, prefix in told if not prefix["blocks"]},
    )
