"""Everything there is to tell about a run, for result.json, the report and the model card."""

from dataclasses import dataclass, field
from typing import Any

from thaw_api.job import FineTuneJob
from thaw_api.tasks import Mode
from thaw_trainer.search.journal import TrialRecord


@dataclass(frozen=True)
class RunSummary:
    """One run that came to its end."""

    job: FineTuneJob
    metric: str
    mode: Mode
    records: tuple[TrialRecord, ...]
    """Every trial, by ordinal; its `reports` are `EpochReport`s as JSON."""
    facts: dict[str, Any]
    """The store's facts: labels, counts of rows by step and split, classes of each split, fingerprint."""
    seconds: dict[str, float]
    """Wall time by stage: setup, prepare, search, test, total."""
    best: TrialRecord | None = None
    final: dict[str, Any] = field(default_factory=dict)
    """`validation` and `test` of the best trial: metrics, details (such as confusion), rows."""
    failure: dict[str, Any] | None = None
    """reason, message and cause, when the job failed."""
    warnings: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """Succeeded or Failed."""
        return "Failed" if self.failure else "Succeeded"

    def scores(self, record: TrialRecord) -> list[float]:
        """A trial's objective by epoch."""
        return [float(report["metrics"][self.metric]) for report in record.reports]
