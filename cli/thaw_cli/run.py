"""`thaw run`: a manifest to a fine-tuned model on this machine."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from thaw_api import FieldError, FineTuneJob, InvalidManifest, read_jobs
from thaw_api.availability import cluster_only_fields
from thaw_cli.interrupts import Interrupts
from thaw_cli.printing import Format, print_errors, print_object

FAILED, INVALID, INTERRUPTED = 1, 2, 130


def run_and_exit(file: Path, output: Path | None, overrides: list[str], fmt: Format) -> NoReturn:
    """Runs the one job of a file and ends the process with its status.

    At once, without Python's own clean-up: where gangs were interrupted, threads still wait for Ray, and Ray ends with
    this process.
    """
    status = run_manifest(file, output, overrides, fmt)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_manifest(file: Path, output: Path | None, overrides: list[str], fmt: Format) -> int:
    """Runs the one job of a file; returns the exit status."""
    try:
        job = one_job(file, overrides)
        root = output.absolute() if output else output_of(job, file.absolute().parent)
    except InvalidManifest as error:
        print_errors(str(file), error.errors)
        return INVALID
    from thaw_cli.console import open_console
    from thaw_trainer.driver import InputError, Site, run_job
    from thaw_trainer.errors import TrainerError
    from thaw_trainer.uris import UriRoots

    for field in cluster_only_fields(job.spec):
        print(f"{file}: {field}: read on a cluster only", file=sys.stderr)
    interrupts = Interrupts()
    interrupts.listen()
    try:
        with open_console(sys.stderr if fmt in ("json", "yaml", "name") else sys.stdout) as observer:
            result = run_job(job, Site(UriRoots(file.absolute().parent)), root, interrupts.checked(observer))
    except InputError as error:
        print_errors(str(file), [FieldError(error.error.field, error.error.message)])
        return INVALID
    except TrainerError as error:
        print(f"failed: {error.reason}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    _print_result(result, root, fmt)
    return 0 if result["status"] == "Succeeded" else FAILED


def one_job(file: Path, overrides: list[str]) -> FineTuneJob:
    """The job of a file that holds one; raises InvalidManifest."""
    jobs = read_jobs(file, overrides)
    if len(jobs) != 1:
        raise InvalidManifest([FieldError("", f"one job can be run at a time, and the file holds {len(jobs)}")])
    return jobs[0]


def output_of(job: FineTuneJob, base: Path) -> Path:
    """The folder that output.uri names here; raises InvalidManifest for a URI of a cluster."""
    from thaw_trainer.uris import UriRoots, output_folder

    uri = job.spec.output.uri
    if not uri.startswith("file:"):
        message = f"{uri} is not on this machine; give a folder: --output DIR"
        raise InvalidManifest([FieldError("spec.output.uri", message)])
    return output_folder(uri, UriRoots(base))


def _print_result(result: dict[str, Any], root: Path, fmt: Format) -> None:
    if fmt in ("json", "yaml"):
        print_object(result, fmt)
    elif fmt == "name":
        print(root / "model" if result["best"] else root)
    elif result["status"] == "Failed":
        print(f"failed: {result['failure']['reason']}: {result['failure']['message']}", file=sys.stderr)
        print(f"{'report':<11} {root / 'report.html'}")
    else:
        from thaw_trainer.reporting.lines import result_lines

        print("\n".join(result_lines(result, root)))
