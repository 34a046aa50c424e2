"""The command line. Each command imports what it needs when it is called, so that `thaw --help` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from thaw_cli import cluster
from thaw_cli.arguments import Manifest, Output, Overrides

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Fine-tunes pretrained models from one manifest, here and on Kubernetes.",
)


@app.command()
def run(
    file: Manifest,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder of results and checkpoints, instead of output.uri.")
    ] = None,
    overrides: Overrides = None,
    fmt: Output = "text",
) -> None:
    """Run a job on this machine. Interrupted, the same command goes on.

    Exit status: 0 succeeded, 1 failed, 2 the manifest or its inputs are invalid, 130 interrupted.
    """
    from thaw_cli.run import run_and_exit

    run_and_exit(file, output, overrides or [], fmt)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Manifests.", show_default=False)],
    overrides: Overrides = None,
    fmt: Output = "text",
) -> None:
    """Check manifests without reading model or data. Exit status 2 when one is invalid."""
    from thaw_cli.validate import validate_manifests

    raise typer.Exit(validate_manifests(files, overrides or [], fmt))


@app.command()
def plan(file: Manifest, overrides: Overrides = None, fmt: Output = "text") -> None:
    """Show what each phase would train, without training. Reads model and data; exit status 2 when they are invalid."""
    from thaw_cli.plan import plan_manifest

    raise typer.Exit(plan_manifest(file, overrides or [], fmt))


@app.command()
def models(
    task: Annotated[str | None, typer.Argument(help="A task, such as text-classification.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("-f", help="A manifest, instead of a task.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows that are trained on.")] = None,
    length: Annotated[float | None, typer.Option(help="Tokens of a row, or seconds of a sound.")] = None,
    target_length: Annotated[int | None, typer.Option(help="Tokens of a target that is written.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs; 3 when not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of a step; 32 when not given.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory, such as 16Gi; what is free when not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu or gpu of this machine, t4, l4, a10, a100, h100 or h200.")] = "cpu",
    teraflops: Annotated[float | None, typer.Option(help="What the device computes, instead of measuring.")] = None,
    time: Annotated[str, typer.Option(help="What a trial may take, such as 30m.")] = "1h",
    overrides: Overrides = None,
    fmt: Output = "text",
) -> None:
    """Propose models to start from, with the memory and the time that each would take. Exit status 2 when an option is
    wrong."""
    from thaw_cli.models import propose_models
    from thaw_trainer.advice.question import Question

    question = Question(task, rows, length, target_length, epochs, batch_size, memory, device, teraflops, time)
    raise typer.Exit(propose_models(question, file, overrides or [], fmt))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Output folders of runs that have ended.", show_default=False)],
    fmt: Output = "text",
) -> None:
    """Show runs side by side: metrics on the test rows, what the best trial was, time. Exit status 2 when a folder
    holds no run that has ended."""
    from thaw_cli.compare import compare_runs

    raise typer.Exit(compare_runs(folders, fmt))


cluster.register(app)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("thaw"))
        raise typer.Exit


def main() -> None:
    """Entry point of `thaw` and `kubectl thaw`."""
    app(prog_name=Path(sys.argv[0]).name)
