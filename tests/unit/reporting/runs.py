"""Events of a run that nobody ran."""

from __future__ import annotations

from typing import Any

from thaw_trainer.reporting.events import RunStarted, SearchStarted
from thaw_trainer.search.journal import TrialRecord


def search_started(**changes: Any) -> SearchStarted:
    """A search of four trials of three epochs, two at a time."""
    plain: dict[str, Any] = {
        "trials": 4,
        "slots": 2,
        "workers": 1,
        "threads": 1,
        "finished": 0,
        "interrupted": 0,
        "metric": "accuracy",
        "mode": "max",
        "epochs": 3,
    }
    return SearchStarted(**(plain | changes))


def run_started(*records: TrialRecord, **changes: Any) -> RunStarted:
    """A run of four trials of three epochs, after earlier ones."""
    plain: dict[str, Any] = {"trials": 4, "epochs": 3, "metric": "accuracy", "mode": "max", "records": records}
    return RunStarted(**(plain | changes))


def record(ordinal: int, *accuracies: float, **changes: Any) -> TrialRecord:
    """A trial that has reported these accuracies."""
    trial = TrialRecord(ordinal, {"training.optimizer.lr": 0.001})
    for epoch, accuracy in enumerate(accuracies, start=1):
        best = max(range(epoch), key=lambda index: accuracies[index]) + 1
        trial.reports.append(
            {
                "epoch": epoch,
                "phase": "head",
                "metrics": {"accuracy": accuracy, "loss": 1 - accuracy},
                "train_loss": 0.5,
                "trainable": 300,
                "total": 1000,
                "started": 10.0 * epoch,
                "ended": 10.0 * epoch + 4,
                "best_epoch": best,
            }
        )
    for name, value in changes.items():
        setattr(trial, name, value)
    return trial
