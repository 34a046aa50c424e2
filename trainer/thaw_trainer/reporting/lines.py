"""A run's events as lines of text, for a console and for a cluster's log."""

from pathlib import Path
from typing import Any

from thaw_api.search_space import assignment_text
from thaw_trainer.outputs.wording import refined_texts
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import (
    DataPrepared,
    EpochEnded,
    Event,
    Refined,
    RunStarted,
    SearchStarted,
    TrialEnded,
    TrialStarted,
)
from thaw_trainer.search.journal import TrialRecord


def event_line(event: Event, board: Board) -> str:
    """One event as a line; empty for one that has nothing to tell a person."""
    if isinstance(event, RunStarted):
        return ""
    if isinstance(event, DataPrepared):
        counts = event.counts
        splits = ", ".join(f"{counts[name]} {name}" for name in ("train", "validation", "test") if name in counts)
        return f"{'data':<11} {splits} rows ({event.seconds:.1f} s)"
    if isinstance(event, SearchStarted):
        return _search_line(event)
    if isinstance(event, TrialStarted):
        record = event.record
        resumed = f", goes on after epoch {len(record.reports)}" if record.reports else ""
        return f"{record.name:<11} {assignment_text(record.parameters) or 'the values of the manifest'}{resumed}"
    if isinstance(event, EpochEnded):
        return _epoch_line(event, board)
    if isinstance(event, TrialEnded):
        return _ended_line(event.record, board)
    if isinstance(event, Refined):
        return "\n".join(f"{name:<11} {text}" for name, text in refined_texts(event.told).items())
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
    return f"{'test':<11} {metrics} on {event.rows} rows"


def result_lines(result: dict[str, Any], root: Path) -> list[str]:
    """What a person wants to read at the end."""
    best, seconds = result["best"], result["seconds"]
    stages = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if name != "total")
    lines = [
        f"{'best':<11} {best['trial']}: {result['objective']['metric']} "
        f"{best['metrics'][result['objective']['metric']]:.4f} on validation, "
        f"{_test_value(result)} on test; {assignment_text(best['parameters'])}",
        f"{'time':<11} {seconds['total']:.0f} s ({stages})",
        f"{'model':<11} {root / 'model'}",
        f"{'report':<11} {root / 'report.html'}",
    ]
    return lines + [f"{'warning':<11} {warning}" for warning in result["warnings"]]


def _test_value(result: dict[str, Any]) -> str:
    value = result["test"].get(result["objective"]["metric"])
    return "not measured" if value is None else f"{value:.4f}"


def _search_line(event: SearchStarted) -> str:
    workers = f"{event.workers} workers of " if event.workers > 1 else ""
    at_a_time = f"{event.slots} at a time, each with {workers}{event.threads} thread{'s' * (event.threads > 1)}"
    earlier = f"; {event.finished} finished before" if event.finished else ""
    resumed = f", {event.interrupted} go on" if event.interrupted else ""
    trials = f"{event.trials} trial{'s' * (event.trials > 1)} by {event.metric} ({event.mode})"
    return f"{'search':<11} {trials}, {at_a_time}{earlier}{resumed}"


def _epoch_line(event: EpochEnded, board: Board) -> str:
    report, search = event.report, board.search
    assert search is not None
    metric = f"{search.metric} {report['metrics'][search.metric]:.4f}"
    seconds = "shared" if report.get("shared") else f"{report['ended'] - report['started']:.1f} s"
    return (
        f"{event.record.name:<11} epoch {report['epoch']}/{search.epochs} {report['phase']:<8} "
        f"loss {report['train_loss']:.4f}  {metric}  {seconds}  {summary_text(board)}"
    )


def summary_text(board: Board) -> str:
    """How far the search is, in brackets; empty before there is something to tell."""
    best, search = board.best(), board.search
    if best is None or search is None:
        return ""
    remaining = board.remaining_seconds()
    eta = f", about {clock_text(remaining)} left" if remaining is not None else ""
    return f"[{board.counts()['finished']}/{search.trials} done, best {board.objective(best):.4f}{eta}]"


def _ended_line(record: TrialRecord, board: Board) -> str:
    if record.failure:
        return f"{record.name:<11} failed: {record.failure['reason']}: {record.failure['message']}"
    value = board.objective(record)
    metric = f": best {board.search.metric} {value:.4f}" if board.search and value is not None else ""
    return f"{record.name:<11} {record.state} after {len(record.reports)} epochs{metric}"


def clock_text(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
