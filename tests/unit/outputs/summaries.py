"""Summaries of runs, built small: one call for a run, one for a trial, one for what each epoch reported."""

import math
from typing import Any

from tests.manifests import job, parameter
from thaw_api.manifest import read_job
from thaw_api.schema_model import Scalar
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.search.journal import TrialRecord, TrialState

LR = "training.optimizer.lr"
SEARCHED = [
    parameter(LR, logUniform={"min": 1e-4, "max": 1e-2}),
    parameter("training.labelSmoothing", choice={"values": [0.0, 0.1]}),
    parameter("training.batchSize", int={"min": 8, "max": 64}),
]


def epochs(scores: list[float], phases: list[str] | None = None, mode: str = "max") -> list[dict[str, Any]]:
    """Reports of a trial with these accuracies; trainable parameters grow with each phase."""
    phases = phases or ["all"] * len(scores)
    best, reports = 0, []
    for epoch, (score, phase) in enumerate(zip(scores, phases, strict=True), start=1):
        sign = 1 if mode == "max" else -1
        if not math.isnan(score) and (not best or sign * score > sign * scores[best - 1]):
            best = epoch
        loss = 1.5 / epoch
        reports.append(
            {
                "epoch": epoch,
                "phase": phase,
                "metrics": {"accuracy": score, "f1": score - 0.05, "mcc": score - 0.1, "loss": loss + 0.1},
                "train_loss": loss,
                "train_losses": [loss + 0.01 * ((step * 7) % 5 - 2) for step in range(12)],
                "trainable": 1000 * (1 + sorted(set(phases), key=phases.index).index(phase)),
                "total": 20000,
                "started": 1_700_000_000.0 + 10 * epoch,
                "ended": 1_700_000_000.0 + 10 * epoch + 8.5,
                "best_epoch": best,
                "last": epoch == len(scores),
                "warnings": [],
            }
        )
    return reports


def trial(
    ordinal: int = 0,
    scores: list[float] | None = None,
    state: TrialState = "succeeded",
    parameters: dict[str, Scalar] | None = None,
    phases: list[str] | None = None,
    failure: dict[str, Any] | None = None,
) -> TrialRecord:
    """A trial; by default it got better for three epochs in two phases."""
    if scores is None:
        scores, phases = [0.5, 0.7, 0.8], phases or ["head", "top", "top"]
    return TrialRecord(ordinal, parameters or {}, epochs(scores, phases), state, failure)


def searched(ordinal: int, lr: float, scores: list[float], **options: Any) -> TrialRecord:
    """A trial of the search over `SEARCHED`."""
    values: dict[str, Scalar] = {
        LR: lr,
        "training.labelSmoothing": 0.1 if ordinal % 2 else 0.0,
        "training.batchSize": 8 + ordinal,
    }
    return trial(ordinal, scores, parameters=values, **options)


def facts(labels: list[str], rows: int = 20) -> dict[str, Any]:
    """Facts of a store with `rows` test rows of the first label, and one fewer of each label after it."""
    test = {label: max(rows - index, 1) for index, label in enumerate(labels)}
    classes = {
        "train": {label: 10 * count for label, count in test.items()},
        "validation": dict(test),
        "test": test,
    }
    counts = {"read": 12 * sum(test.values()), "duplicatesOutOfTest": 0}
    return {
        "labels": labels,
        "counts": counts | {split: sum(of.values()) for split, of in classes.items()},
        "classes": classes,
        "fingerprint": "0123456789abcdef",
    }


def confusion(labels: list[str], rows: int = 20) -> dict[str, Any]:
    """A confusion matrix that fits `facts`: one row of each class was taken for the next class."""
    matrix = [[0] * len(labels) for _ in labels]
    for index in range(len(labels)):
        matrix[index][index] = max(rows - index, 1) - 1
        matrix[index][(index + 1) % len(labels)] += 1
    return {"labels": labels, "matrix": matrix}


def summary(
    records: list[TrialRecord] | None = None,
    labels: list[str] | None = None,
    changes: dict[str, Any] | None = None,
    best: int | None = 0,
    **options: Any,
) -> RunSummary:
    """A run that succeeded with one trial, or what the arguments say.

    Args:
        changes: changes to the minimal job, by the path of the field.
        best: ordinal of the best trial.
    """
    records = [trial()] if records is None else records
    labels = labels or ["apples", "pears", "plums"]
    final = {
        "validation": {"metrics": {"accuracy": 0.8, "f1": 0.75, "mcc": 0.7, "loss": 0.6}, "rows": 57},
        "test": {
            "metrics": {"accuracy": 0.7719, "f1": 0.7123, "mcc": 0.6543, "loss": 0.6789},
            "details": {"confusion": confusion(labels)},
            "rows": 57,
        },
    }
    given: dict[str, Any] = {
        "facts": facts(labels),
        "seconds": {"setup": 3.0, "prepare": 1.5, "search": 95.0, "test": 0.5, "total": 100.0},
        "final": final if best is not None else {},
    }
    return RunSummary(
        job=read_job(job(changes)),
        metric="accuracy",
        mode="max",
        records=tuple(records),
        best=None if best is None else next(record for record in records if record.ordinal == best),
        **(given | options),
    )


def search_summary(**options: Any) -> RunSummary:
    """A search of five trials: trial 1 is the best, one was stopped, two failed, one of them before any epoch."""
    lost = {"reason": "WorkerLost", "message": "the node is gone", "cause": "infrastructure"}
    broken = {"reason": "LossNotFinite", "message": "spec.training.optimizer.lr: the loss became nan", "cause": "user"}
    records = [
        searched(0, 3e-4, [0.5, 0.6, 0.65]),
        searched(1, 1e-3, [0.6, 0.8, 0.75], phases=["head", "top-1", "top-1"]),
        searched(2, 2e-4, [0.4], state="stopped"),
        searched(3, 5e-3, [0.3, 0.35], state="failed", failure=lost),
        searched(4, 9e-3, [], state="failed", failure=broken),
    ]
    return summary(records, changes={"search.parameters": SEARCHED}, best=1, **options)


def failed_summary() -> RunSummary:
    """A run of which no trial finished an epoch."""
    reason = {"reason": "LossNotFinite", "message": "the loss became nan", "cause": "user"}
    return summary(
        [searched(0, 1e-2, [], state="failed", failure=reason), searched(1, 9e-3, [], state="failed", failure=reason)],
        changes={"search.parameters": SEARCHED},
        best=None,
        failure={"reason": "AllTrialsFailed", "message": "every trial failed; the first: loss is nan", "cause": "user"},
    )
