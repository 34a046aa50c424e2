"""`status.training` from what the board knows: pure, and within the bounds of the resource whatever the names are."""

import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thaw_api.status import (
    BestTrial,
    CheckpointStatus,
    FreezingStatus,
    Metric,
    PrefixCacheStatus,
    ResultStatus,
    Summary,
    TrainingFailure,
    TrainingStatus,
    TrialCounts,
)
from thaw_trainer.cluster.attempt import Attempt, Ending
from thaw_trainer.cluster.plain_text import number, plain
from thaw_trainer.cluster.trial_rows import assignments, objective_metric, trial_rows
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.prefix_cache import prefix_cache_use
from thaw_trainer.search.journal import TrialRecord

_log = logging.getLogger("thaw.reporter")
_METRICS = 32
_URI_CHARACTERS = 1024
_SEARCHED, _TESTED = 98, 99
"""Percentages: the search done, the best trial tested; 100 is for what is over."""


@dataclass(frozen=True)
class Reported:
    """What a report says that no event does."""

    attempt: Attempt
    output: str
    """`output.uri` of the spec; empty when the spec cannot be read."""


def training_status(
    reported: Reported, board: Board, percentage: int = 0, ending: Ending | None = None
) -> TrainingStatus:
    """The whole `training` object, without the time of its writing.

    Args:
        percentage: what the last report of this attempt said: progress never goes back.
    """
    best = board.best()
    last = best.reports[-1]["metrics"] if best else {}
    remaining = None if ending else board.remaining_seconds()
    return TrainingStatus(
        progress_percentage=max(percentage, _percentage(board, ending)),
        estimated_remaining_seconds=max(0, math.ceil(remaining)) if remaining is not None else None,
        metrics=_metrics(last) or None,
        trials=_counts(board),
        best_trial=_best_trial(best, board),
        trial_table=trial_rows(board) or None,
        freezing=_freezing(best, board),
        prefix_cache=_prefix_cache(board),
        checkpoint=None if ending and not ending.failure else _checkpoint(reported.output, best, board),
        result=_result(reported.output, ending),
        failure=_failure(reported.attempt, ending),
        job_uid=plain(reported.attempt.uid, 64),
        summary=_summary(best, board),
    )


class StatusView:
    """Reports of one attempt, whose progress never goes back."""

    def __init__(self, reported: Reported, board: Board) -> None:
        self._reported, self._board, self._percentage = reported, board, 0
        self._last: dict[str, Any] = {}

    def report(self, ending: Ending | None = None) -> dict[str, Any]:
        """The report of this moment as JSON; the last one, when this one cannot be made."""
        try:
            status = training_status(self._reported, self._board, self._percentage, ending)
        except Exception:  # a status is no reason to end a training
            _log.exception("the status of this moment cannot be made")
            return self._last
        self._percentage = status.progress_percentage or 0
        self._last = status.manifest()
        return self._last


def _percentage(board: Board, ending: Ending | None) -> int:
    if ending and not ending.failure:
        return 100
    return _TESTED if board.tested else math.floor(_SEARCHED * board.share_done())


def _metrics(values: dict[str, Any]) -> list[Metric]:
    """Metrics with names that differ, as a list that is a map by name must have them."""
    named = {plain(name, 253): number(value) for name, value in reversed(list(values.items())[:_METRICS])}
    return [Metric(name=name, value=value) for name, value in reversed(named.items())]


def _counts(board: Board) -> TrialCounts | None:
    if board.goal is None:
        return None
    states = board.counts()
    return TrialCounts(
        total=max(board.goal.trials, len(board.records)),
        running=states["running"],
        succeeded=states["succeeded"],
        stopped=states["stopped"],
        failed=states["failed"],
    )


def _best_trial(best: TrialRecord | None, board: Board) -> BestTrial | None:
    metric = objective_metric(best, board) if best else None
    if best is None or metric is None:
        return None
    return BestTrial(name=best.name, parameters=assignments(best) or None, metric=metric)


def _freezing(best: TrialRecord | None, board: Board) -> FreezingStatus | None:
    """Of the oldest trial in training that has reported, which stays the same until it ends; else of the best."""
    training = (record for record in _by_ordinal(board) if record.state == "running" and record.reports)
    record = next(training, best)
    if record is None:
        return None
    report = record.reports[-1]
    return FreezingStatus(
        phase=plain(report["phase"], 1024), trainable_parameters=report["trainable"], total_parameters=report["total"]
    )


def _prefix_cache(board: Board) -> PrefixCacheStatus | None:
    """Nothing until a row was replayed."""
    use = prefix_cache_use(board.records.values())
    if not use.hits:
        return None
    saved = int(use.saved_seconds)
    return PrefixCacheStatus(hits=use.hits, misses=use.misses, bytes=use.bytes, saved_seconds=saved)


def _checkpoint(output: str, best: TrialRecord | None, board: Board) -> CheckpointStatus | None:
    """The newest checkpoint to go on from; when no trial is in training, the best trial's best epoch."""
    training = [record for record in _by_ordinal(board) if record.state == "running" and record.reports]
    if training:
        record = max(training, key=lambda each: float(each.reports[-1]["ended"]))
        report = record.reports[-1]
        place = f"epoch-{report['epoch']:04}"
    elif best is not None and (found := best.best_report()) is not None:
        record, report = best, found
        place = f"best-{report['epoch']:04}.safetensors"
    else:
        return None
    uri = f"{output.rstrip('/')}/checkpoints/{record.name}/{place}"
    if len(uri) > _URI_CHARACTERS:
        return None  # half an address leads nowhere
    return CheckpointStatus(uri=uri, time=timestamp(report["ended"]), epoch=report["epoch"])


def _by_ordinal(board: Board) -> list[TrialRecord]:
    return [board.records[ordinal] for ordinal in sorted(board.records)]


def _result(output: str, ending: Ending | None) -> ResultStatus | None:
    if ending is None or ending.result is None or ending.failure:
        return None
    return ResultStatus(uri=output, metrics=_metrics(ending.result["test"]) or None)


def _failure(attempt: Attempt, ending: Ending | None) -> TrainingFailure | None:
    if ending is None or ending.failure is None:
        return None
    return TrainingFailure(
        attempt=attempt.number,
        cause=ending.failure["cause"],
        reason=plain(ending.failure["reason"], 1024),
        message=plain(ending.failure["message"], 4096),
    )


def _summary(best: TrialRecord | None, board: Board) -> Summary | None:
    if board.goal is None:
        return None
    over = sum(record.state != "running" for record in board.records.values())
    value = board.objective(best) if best else None
    return Summary(
        trials=f"{over}/{max(board.goal.trials, len(board.records))}",
        best=None if value is None else f"{plain(board.goal.metric, 253)} {value:.4g}",
    )


def timestamp(seconds: float) -> str:
    """Seconds since the epoch (Unix) as Kubernetes writes a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
