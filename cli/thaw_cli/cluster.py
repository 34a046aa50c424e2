"""Registers the commands that speak to a cluster. Each imports what it needs when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from thaw_cli.arguments import Manifest, Output, Overrides

Name = Annotated[str, typer.Argument(help="The job's name.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("-n", "--namespace", help="The job's namespace; absent: the context's own.")
]
Context = Annotated[str | None, typer.Option("--context", help="A context of the kubeconfig; absent: the current one.")]


def register(app: typer.Typer) -> None:
    """Adds the commands, in the order in which one needs them."""
    for command in (submit, list_jobs, status, watch, logs, suspend, resume, best, delete):
        app.command(name="list" if command is list_jobs else None)(command)


def submit(
    file: Manifest,
    namespace: Namespace = None,
    context: Context = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Have the cluster check it, and create nothing.")] = False,
    fmt: Output = "text",
) -> None:
    """Create a job on the cluster. Exit status 2 when the manifest is invalid."""
    from thaw_cli.kube import commands

    run = lambda jobs: commands.submit(jobs, Path(file), overrides or [], fmt, dry_run=dry_run)  # noqa: E731
    raise typer.Exit(commands.on_cluster(namespace, context, run))


def list_jobs(
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("-A", "--all-namespaces", help="Of all namespaces.")] = False,
    context: Context = None,
    fmt: Output = "text",
) -> None:
    """List jobs."""
    from thaw_cli.kube import commands

    run = lambda jobs: commands.list_jobs(jobs, fmt, everywhere=everywhere)  # noqa: E731
    raise typer.Exit(commands.on_cluster(namespace, context, run))


def status(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Show where a job stands: phase, progress, trials, best, and why it failed."""
    from thaw_cli.kube import commands

    raise typer.Exit(commands.on_cluster(namespace, context, lambda jobs: commands.show_status(jobs, name, fmt)))


def watch(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Follow a job to its end. Exit status: 0 it succeeded, 1 it failed, 130 interrupted."""
    from thaw_cli.kube import commands

    raise typer.Exit(commands.on_cluster(namespace, context, lambda jobs: commands.watch_job(jobs, name, fmt)))


def logs(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as the log grows.")] = False,
) -> None:
    """Print the log of a job's driver."""
    from thaw_cli.kube import commands
    from thaw_cli.kube.logs import print_logs

    raise typer.Exit(commands.on_cluster(namespace, context, lambda jobs: print_logs(jobs, name, follow=follow)))


def suspend(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Stop a job and give its cluster back; resumed, it goes on from its last checkpoints."""
    from thaw_cli.kube import commands

    run = lambda jobs: commands.suspend(jobs, name, fmt, wanted=True)  # noqa: E731
    raise typer.Exit(commands.on_cluster(namespace, context, run))


def resume(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Let a suspended job go on."""
    from thaw_cli.kube import commands

    run = lambda jobs: commands.suspend(jobs, name, fmt, wanted=False)  # noqa: E731
    raise typer.Exit(commands.on_cluster(namespace, context, run))


def best(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Show the best trial so far, and where the result is."""
    from thaw_cli.kube import commands

    raise typer.Exit(commands.on_cluster(namespace, context, lambda jobs: commands.show_best(jobs, name, fmt)))


def delete(name: Name, namespace: Namespace = None, context: Context = None, fmt: Output = "text") -> None:
    """Delete a job and its cluster; its output stays."""
    from thaw_cli.kube import commands

    raise typer.Exit(commands.on_cluster(namespace, context, lambda jobs: commands.delete(jobs, name, fmt)))
