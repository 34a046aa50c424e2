"""Jobs as text: rows of a list, a status, a table of trials. Pure: from a job's body to what a console prints."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Body = dict[str, Any]
_COLOURS = {"Succeeded": "green", "Failed": "red", "Running": "cyan", "Restarting": "yellow", "Suspended": "yellow"}
_STATES = {"succeeded": "green", "failed": "red", "running": "cyan", "stopped": "dim", "pending": "dim"}


def phase_of(job: Body) -> str:
    """The job's phase; Queued before the operator has seen it."""
    return str((job.get("status") or {}).get("phase") or "Queued")


def outcome_of(job: Body) -> bool | None:
    """Whether a job succeeded; None while it is not over."""
    return {"Succeeded": True, "Failed": False}.get(phase_of(job))


def jobs_table(jobs: Iterable[Body], now: datetime, *, namespaces: bool) -> Table:
    """One row for each job."""
    table = _plain_table()
    for title in (["Namespace"] if namespaces else []) + ["Name", "Phase", "Progress", "Trials", "Best", "Age"]:
        table.add_column(title)
    for job in jobs:
        training = _training(job)
        summary = training.get("summary") or {}
        cells = [job["metadata"]["namespace"]] if namespaces else []
        cells += [job["metadata"]["name"], phase_of(job), _percent(training)]
        cells += [summary.get("trials", ""), summary.get("best", ""), age(job["metadata"]["creationTimestamp"], now)]
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def status_view(job: Body, now: datetime) -> RenderableType:
    """All that a person wants to know of one job."""
    status, training = job.get("status") or {}, _training(job)
    lines = _plain_table()
    lines.show_header = False
    lines.add_column(style="bold")
    lines.add_column()

    def row(title: str, value: Any) -> None:
        if value not in (None, ""):
            lines.add_row(title, Text(str(value)))

    phase = phase_of(job)
    lines.add_row("phase", Text(phase, style=_COLOURS.get(phase, "")))
    row("message", status.get("message"))
    row("queue", status.get("queue"))
    row("progress", _progress(training, runs=phase == "Running"))
    row("trials", _trials(training))
    freezing = training.get("freezing")
    if freezing:
        trained, total = freezing["trainableParameters"], freezing["totalParameters"]
        row("freezing", f"{freezing['phase']}: {trained:,} of {total:,} parameters are trained")
    row("best", best_line(job))
    restarts = {cause: count for cause, count in (status.get("restarts") or {}).items() if count}
    row("restarts", ", ".join(f"{count} {cause}" for cause, count in restarts.items()))
    result = training.get("result") or {}
    row("result", result.get("uri"))
    row("test", _metrics(result.get("metrics")))
    row("age", age(job["metadata"]["creationTimestamp"], now))
    failure = status.get("failure")
    if failure:
        row("failure", f"{failure['reason']}: {failure['message']}")
    parts: list[RenderableType] = [lines]
    if training.get("trialTable"):
        parts += ["", trial_table(training["trialTable"])]
    if failure and failure.get("logTail"):
        parts += ["", Text("the end of the driver's log", style="bold"), Text(failure["logTail"])]
    return Group(*parts)


def trial_table(rows: list[Body]) -> Table:
    """Trials as the status has them."""
    table = _plain_table()
    for title in ("Trial", "State", "Epoch", "Objective", "Parameters"):
        table.add_column(title)
    for row in rows:
        metric = row.get("metric")
        table.add_row(
            row["name"],
            Text(row["state"], style=_STATES.get(row["state"], "")),
            str(row.get("epoch", "")),
            Text(f"{metric['name']} {metric['value']}" if metric else row.get("reason", "")),
            Text(_assignments(row.get("parameters"))),
        )
    return table


def best_line(job: Body) -> str:
    """The best trial in one line; empty while there is none."""
    best = _training(job).get("bestTrial")
    if not best:
        return ""
    metric = best["metric"]
    values = _assignments(best.get("parameters"))
    return f"{best['name']}: {metric['name']} {metric['value']}" + (f" with {values}" if values else "")


def age(created: str, now: datetime) -> str:
    """How long ago, as kubectl writes it: 45s, 12m, 3h, 8d."""
    seconds = int((now - datetime.fromisoformat(created).astimezone(UTC)).total_seconds())
    units: tuple[tuple[int, str], ...] = ((86400, "d"), (3600, "h"), (60, "m"))
    for length, unit in units:
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"


def _training(job: Body) -> Body:
    return (job.get("status") or {}).get("training") or {}


def _percent(training: Body) -> str:
    return f"{training['progressPercentage']}%" if "progressPercentage" in training else ""


def _progress(training: Body, *, runs: bool) -> str:
    """The driver's last report stays when it is gone, and nobody knows then how long is left."""
    left = training.get("estimatedRemainingSeconds") if runs else None
    return _percent(training) + (f", about {left // 60}:{left % 60:02d} left" if left else "")


def _trials(training: Body) -> str:
    counts = training.get("trials") or {}
    told = [f"{counts[state]} {state}" for state in ("running", "succeeded", "stopped", "failed") if counts.get(state)]
    return f"{counts['total']}: {', '.join(told) or 'none yet'}" if "total" in counts else ""


def _metrics(metrics: list[Body] | None) -> str:
    return ", ".join(f"{metric['name']} {metric['value']}" for metric in metrics or ())


def _assignments(parameters: list[Body] | None) -> str:
    short: Callable[[Body], str] = lambda one: str(one["path"]).rpartition(".")[2]  # noqa: E731
    return " ".join(f"{short(one)}={one['value']}" for one in parameters or ())


def _plain_table() -> Table:
    return Table(box=None, show_header=True, header_style="bold", pad_edge=False)
