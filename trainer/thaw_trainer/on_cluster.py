"""`python -m thaw_trainer.on_cluster`: the driver on a Ray head, the entrypoint of the operator's RayJob.

Runs what `thaw run` runs, on the cluster's workers, tells `status.training`, and ends with an exit code of
`thaw_api.contract`.
"""

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from thaw_api.contract import (
    ATTEMPT_VARIABLE,
    CLAIMS_FOLDER,
    EXIT_INFRASTRUCTURE,
    EXIT_INVALID,
    JOB_FILE,
    JOB_FOLDER,
)
from thaw_api.field_error import InvalidManifest
from thaw_api.job import FineTuneJob, FineTuneJobSpec
from thaw_api.manifest import read_job
from thaw_trainer.cluster.attempt import Attempt, Ending, ending_of_error, ending_of_result, read_document
from thaw_trainer.cluster.pod_log import also_to_pod
from thaw_trainer.cluster.reporter import StatusReporter
from thaw_trainer.cluster.status_patch import open_sender
from thaw_trainer.cluster.training_status import Reported, StatusView, timestamp
from thaw_trainer.driver import InputError, Site, run_job
from thaw_trainer.environment import set_environment
from thaw_trainer.errors import TrainerError
from thaw_trainer.ray_session import RaySession
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import Event, Observer
from thaw_trainer.reporting.lines import event_line, result_lines
from thaw_trainer.uris import UriRoots, output_folder

OUTPUT_SECONDS = 180.0
"""How long the last attempt's driver, which may still be dying, may hold the output folder."""
_OUTPUT_PAUSE_SECONDS = 1.0


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the job and ends the process, at once: where gangs were cut short, threads still wait for Ray."""
    parser = argparse.ArgumentParser(prog="python -m thaw_trainer.on_cluster", description=__doc__)
    parser.add_argument("--job", type=Path, default=Path(JOB_FOLDER, JOB_FILE), help="the FineTuneJob")
    parser.add_argument("--claims", type=Path, default=Path(CLAIMS_FOLDER), help="the folder with all mounted claims")
    options = parser.parse_args(arguments)
    set_environment()
    _show_warnings()
    also_to_pod()
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        status = run_attempt(options.job, options.claims, attempt_number(os.environ.get(ATTEMPT_VARIABLE, "")))
    except KeyboardInterrupt:
        print("terminated; the next attempt goes on from here", flush=True)
        status = EXIT_INFRASTRUCTURE
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_attempt(job_file: Path, claims: Path, number: int) -> int:
    """Runs one attempt at the job in a file; returns the exit code."""
    try:
        document = read_document(job_file)
        attempt = Attempt.of(document, number)
    except (OSError, ValueError) as error:
        print(f"failed: {job_file}: {error}", flush=True)
        return EXIT_INVALID
    board = Board(time.monotonic)
    view = StatusView(Reported(attempt, _output_uri(document)), board)
    reporter = StatusReporter(open_sender(attempt), time.monotonic, lambda: timestamp(time.time()))
    reporter.start()

    def observe(event: Event) -> None:
        board.tell(event)
        reporter.offer(view.report())
        if line := event_line(event, board):
            print(line, flush=True)

    ending = _run(document, job_file.parent, claims, observe)
    reporter.close(view.report(ending))
    return ending.exit_code


def _run(document: dict[str, Any], base: Path, claims: Path, observe: Observer) -> Ending:
    """Runs the job to whatever end it takes, and prints that end."""
    try:
        job = read_job(document)
        root = output_folder(job.spec.output.uri, UriRoots(base, claims))
    except (InvalidManifest, TrainerError) as error:
        return _told(ending_of_error(error, before_training=True))
    try:
        result = run_job(job, _site(job, base, claims, root), root, observe)
    except InputError as error:
        return _told(ending_of_error(error.error, before_training=True))
    except Exception as error:  # whatever it is, the status and the exit code say so
        logging.getLogger("thaw").exception("the driver ended")
        return _told(ending_of_error(error))
    ending = ending_of_result(result)
    if ending.failure is None:
        print("\n".join(result_lines(result, root)), flush=True)
    return _told(ending)


def _told(ending: Ending) -> Ending:
    if ending.failure:
        print(f"failed: {ending.failure['reason']}: {ending.failure['message']}", flush=True)
    return ending


def _site(job: FineTuneJob, base: Path, claims: Path, root: Path) -> Site:
    deadline = time.monotonic() + OUTPUT_SECONDS

    def wait() -> bool:
        time.sleep(_OUTPUT_PAUSE_SECONDS)
        return time.monotonic() < deadline

    # Workers read what the hub gave: it lies where every pod looks.
    return Site(UriRoots(base, claims, hub=root / "hub"), open_cluster, wait)


def open_cluster(spec: FineTuneJobSpec) -> RaySession:
    """A session on the Ray cluster around this process."""
    from thaw_trainer.cluster.ray_cluster import await_machines, join_ray, ray_nodes

    return RaySession(join_ray, lambda: await_machines(spec, ray_nodes, time.monotonic, time.sleep))


def attempt_number(text: str) -> int:
    """The attempt that the operator has written into the pod; 1 without."""
    return int(text) if text.isascii() and text.isdigit() else 1


def _output_uri(document: dict[str, Any]) -> str:
    spec = document.get("spec")
    output = spec.get("output") if isinstance(spec, dict) else None
    uri = output.get("uri") if isinstance(output, dict) else None
    return uri if isinstance(uri, str) else ""


def _show_warnings() -> None:
    """What the driver warns of stands in the pod's log too, not only in the output folder."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger("thaw").addHandler(handler)
    logging.getLogger("thaw").propagate = False


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """The pod is being ended: this attempt is over, the job is not."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
