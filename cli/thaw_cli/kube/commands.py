"""What each command does: ask the cluster, print, return the exit status."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.live import Live

from thaw_api import InvalidManifest
from thaw_api.job import GROUP, PLURAL
from thaw_cli.kube.jobs import Body, ClusterError, Jobs
from thaw_cli.kube.shown import best_line, jobs_table, outcome_of, phase_of, status_view
from thaw_cli.printing import Format, print_errors, print_object
from thaw_cli.run import one_job

SUCCEEDED, FAILED, INVALID, INTERRUPTED = 0, 1, 2, 130
Command = Callable[[Jobs], int]


def on_cluster(namespace: str | None, context: str | None, command: Command) -> int:
    """Connects and runs a command; what goes wrong is one line."""
    try:
        return command(Jobs.connect(namespace, context))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def submit(jobs: Jobs, file: Path, overrides: list[str], fmt: Format, *, dry_run: bool) -> int:
    """Creates the one job of a file, after the checks of `thaw validate`."""
    try:
        job = one_job(file, overrides)
    except InvalidManifest as error:
        print_errors(str(file), error.errors)
        return INVALID
    manifest = job.model_dump(by_alias=True, exclude_unset=True, exclude_none=True, mode="json")
    manifest.pop("status", None)
    made = jobs.create(manifest, dry_run=dry_run)
    name = made["metadata"]["name"]
    if fmt in ("json", "yaml"):
        print_object(made, fmt)
    elif fmt == "name":
        print(_full_name(made))
    else:
        print(f"{name} {'would be ' if dry_run else ''}submitted to namespace {jobs.namespace}")
        print(f"  thaw watch {name} -n {jobs.namespace}")
    return SUCCEEDED


def list_jobs(jobs: Jobs, fmt: Format, *, everywhere: bool) -> int:
    """Prints all jobs."""
    found = jobs.list(everywhere=everywhere)
    if fmt in ("json", "yaml"):
        print_object(found, fmt)
    elif fmt == "name":
        print("\n".join(map(_full_name, found)))
    elif found:
        Console().print(jobs_table(found, datetime.now(UTC), namespaces=everywhere))
    else:
        print(f"no jobs in {'the cluster' if everywhere else f'namespace {jobs.namespace}'}", file=sys.stderr)
    return SUCCEEDED


def show_status(jobs: Jobs, name: str, fmt: Format) -> int:
    """Prints where a job stands."""
    job = jobs.get(name)
    if fmt in ("json", "yaml"):
        print_object(job.get("status") or {}, fmt)
    elif fmt == "name":
        print(_full_name(job))
    else:
        Console().print(status_view(job, datetime.now(UTC)))
    return SUCCEEDED


def watch_job(jobs: Jobs, name: str, fmt: Format) -> int:
    """Follows a job to its end: a live table on a terminal, a line for each change elsewhere. The exit status is the
    job's outcome."""
    console = Console()
    live = fmt == "text" and console.is_terminal
    last: Body = {}
    with Live(console=console, auto_refresh=False) if live else nullcontext() as screen:
        told = ""
        for last in jobs.follow(name):
            if isinstance(screen, Live):
                screen.update(status_view(last, datetime.now(UTC)), refresh=True)
            elif fmt == "text" and (line := _line(last)) != told:
                print(told := line, flush=True)
            if outcome_of(last) is not None:
                break
    if fmt in ("json", "yaml"):
        print_object(last.get("status") or {}, fmt)
    elif fmt == "name":
        print(_full_name(last))
    elif not live:
        console.print(status_view(last, datetime.now(UTC)))
    return SUCCEEDED if outcome_of(last) else FAILED


def suspend(jobs: Jobs, name: str, fmt: Format, *, wanted: bool) -> int:
    """Suspends or resumes a job."""
    job = jobs.suspend(name, wanted)
    if fmt in ("json", "yaml"):
        print_object(job, fmt)
    else:
        print(_full_name(job) if fmt == "name" else f"{name} {'suspended' if wanted else 'resumed'}")
    return SUCCEEDED


def show_best(jobs: Jobs, name: str, fmt: Format) -> int:
    """Prints the best trial so far; fails while there is none."""
    job = jobs.get(name)
    training = (job.get("status") or {}).get("training") or {}
    best = training.get("bestTrial")
    if best is None:
        print(f"error: {name} has no best trial yet ({phase_of(job)})", file=sys.stderr)
        return FAILED
    result = training.get("result") or {}
    if fmt in ("json", "yaml"):
        print_object(best | ({"result": result} if result else {}), fmt)
    elif fmt == "name":
        print(best["name"])
    else:
        print(best_line(job))
        if result:
            print(f"result: {result['uri']}")
    return SUCCEEDED


def delete(jobs: Jobs, name: str, fmt: Format) -> int:
    """Deletes a job, and with it everything of it in the cluster; its output stays."""
    job = jobs.get(name)
    jobs.delete(name)
    if fmt in ("json", "yaml"):
        print_object(job, fmt)
    else:
        print(_full_name(job) if fmt == "name" else f"{name} deleted")
    return SUCCEEDED


def _line(job: Body) -> str:
    """A job in one line, for logs."""
    training = (job.get("status") or {}).get("training") or {}
    summary = training.get("summary") or {}
    percent = f"{training['progressPercentage']}%" if "progressPercentage" in training else ""
    parts = [phase_of(job), percent, summary.get("trials", ""), summary.get("best", "")]
    return "  ".join(filter(None, parts))


def _full_name(job: Body) -> str:
    return f"{PLURAL.removesuffix('s')}.{GROUP}/{job['metadata']['name']}"
