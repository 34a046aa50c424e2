"""The driver: load job, prepare data once, search, test the best once, export, report. Read `_run` from top down.

What needs torch or Ray is imported where it is used: a job whose files are missing is refused in no time.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw_api.job import FineTuneJob, FineTuneJobSpec
from thaw_api.search_space import objective, trial_count, trial_spec
from thaw_api.tasks import LIBRARIES
from thaw_api.thresholds import unmet
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.data.suspects import warnings_of
from thaw_trainer.errors import ALL_TRIALS_FAILED, BELOW_THRESHOLD, TrainerError, error_of
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.reporting.events import BestTested, DataPrepared, Observer, RunStarted
from thaw_trainer.search.journal import Journal, TrialRecord, earlier_trials
from thaw_trainer.search.ledger import Ledger
from thaw_trainer.search.parallelism import plan_slots
from thaw_trainer.slots.assignment import FINAL, Assignment
from thaw_trainer.stopwatch import Stopwatch
from thaw_trainer.uris import UriRoots, resolve_data, resolve_model

if TYPE_CHECKING:
    from thaw_trainer.data.kept_stores import KeptStores
    from thaw_trainer.preparation import Prepared
    from thaw_trainer.ray_session import RaySession
    from thaw_trainer.search.refinement import Chosen

_CHANGEABLE = {"output", "cluster", "suspend", "restartPolicy", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}
"""Fields of the spec that may differ between two runs into the same folder."""

_LIBRARY_MODEL_BYTES = 350_000_000
"""What to reckon with for a library's own model, whose weights are not there yet; a ResNet-152 has 240 MB."""


def one_machine(spec: FineTuneJobSpec) -> "RaySession":
    """A Ray of this process's own."""
    from thaw_trainer.local_ray import start_ray, this_machine
    from thaw_trainer.ray_session import RaySession

    return RaySession(start_ray, this_machine)


class InputError(Exception):
    """The job cannot be begun: `error` says why. Nothing was trained."""

    def __init__(self, error: TrainerError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Site:
    """Where a job runs: on one machine, unless told otherwise."""

    roots: UriRoots
    open_session: "Callable[[FineTuneJobSpec], RaySession]" = one_machine
    wait_for_output: Callable[[], bool] = lambda: False
    """Called when another run holds the output folder; whether to try again."""


def run_job(job: FineTuneJob, site: Site, root: Path, observer: Observer) -> dict[str, Any]:
    """Runs a job and returns what its result.json says.

    Args:
        root: the output folder. When it holds an earlier run of the same job, that run goes on; when that run has
            finished, its result is returned.

    Raises:
        InputError: data, model or schedule cannot be used; known before training.
        TrainerError: the run could not go on (output not writable, no gang could be started).
    """
    watch, output = Stopwatch(), OutputFolder(root)
    observer(_run_started(job.spec, output))
    with output.locked(site.wait_for_output):
        try:
            return _run(job, site, output, observer, watch)
        finally:
            shutil.rmtree(output.ray, ignore_errors=True)


def _run(job: FineTuneJob, site: Site, output: OutputFolder, observer: Observer, watch: Stopwatch) -> dict[str, Any]:
    _log_to(output.logs / "driver.log")
    with _before_training():
        model_bytes = _check_inputs(job.spec, site.roots)
    if output.result.is_file():
        with _before_training():
            _open_journal(job.spec, _prepare(job.spec, site.roots, output), output).close()
        result: dict[str, Any] = json.loads(output.result.read_text(encoding="utf-8"))
        if result.get("failure", {}).get("cause") != "infrastructure":
            return result
    session = site.open_session(job.spec)
    try:
        with watch.stage("setup"), _before_training():
            import torch  # noqa: F401  before Ray Train, which imports it too

            exchange, plan = session.open_slots(
                lambda machines: plan_slots(job.spec, machines, model_bytes), job.spec.task, output.logs, output.ray
            )
        with watch.stage("prepare"), _before_training():
            prepared = _prepare(job.spec, site.roots, output)
            journal = _open_journal(job.spec, prepared, output)
        from thaw_trainer.outputs.writing import write_outputs
        from thaw_trainer.search.conduct import open_ledger, run_search, search_started

        observer(DataPrepared(prepared.facts["counts"], watch.seconds["prepare"]))
        ledger = open_ledger(job.spec, journal, prepared, output, observer)
        observer(search_started(job.spec, ledger, plan))
        with watch.stage("search"):
            run_search(job.spec, ledger, prepared, exchange, plan, output)
        if ledger.fatal is not None:
            raise error_of(ledger.fatal)
        best, final = ledger.best(), {}
        if best is not None:
            from thaw_trainer.search.refinement import refine

            with watch.stage("refine"):
                others = [record for record in ledger.ranked() if record is not best]
                chosen = refine(job.spec, best, others, prepared, exchange, output, observer)
            final = _test_and_export(chosen, exchange, output) | {"refined": chosen.told}
            watch.seconds |= final.pop("seconds")
            observer(BestTested(final["test"]["metrics"], final["test"]["rows"]))
        _send_home(session)
        result = write_outputs(_summarize(job, ledger, prepared, best, final, watch), output)
        journal.close()
        return result
    finally:
        session.close()


def _send_home(session: "RaySession") -> None:
    """Lets the gangs leave while the outputs are written, which need none of them."""
    try:
        session.send_home()
    except Exception as error:  # Ray has died: closing the session finds out too
        logging.getLogger("thaw").warning("the gangs were not sent home: %s", error)


def _summarize(
    job: FineTuneJob,
    ledger: Ledger,
    prepared: "Prepared",
    best: TrialRecord | None,
    final: dict[str, Any],
    watch: Stopwatch,
) -> RunSummary:
    metric, mode = objective(job.spec)
    facts = prepared.facts
    if best is not None:
        facts = PreparedStore(prepared.store_of(trial_spec(job.spec, best.parameters))).facts
    return RunSummary(
        job=job,
        metric=metric,
        mode=mode,
        records=tuple(ledger.records),
        facts=facts,
        seconds=watch.all(),
        best=best,
        final=final,
        failure=_below_threshold(job.spec, final) if best else _all_failed(ledger.records),
        warnings=(*_data_warnings(facts), *(best.reports[-1]["warnings"] if best else ())),
    )


def _data_warnings(facts: dict[str, Any]) -> list[str]:
    left_out = facts.get("badRows", {}).get("count", 0)
    told = [f"{left_out} rows cannot be used and were left out: see data.badRows"] if left_out else []
    return told + warnings_of(facts.get("suspects", ()))


def _run_started(spec: FineTuneJobSpec, output: OutputFolder) -> RunStarted:
    metric, mode = objective(spec)
    earlier = earlier_trials(output.journal, digest(_fixed(spec)))
    return RunStarted(trial_count(spec), spec.training.epochs, metric, mode, tuple(earlier))


def _check_inputs(spec: FineTuneJobSpec, roots: UriRoots) -> int:
    """Finds what is missing before anything is started; returns the bytes of the model's weights."""
    for name in ("train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None and not source.is_environment:
            resolve_data(source.uri, f"spec.data.{name}.uri", roots)
    if spec.model.uri.partition(":")[0] in LIBRARIES:
        return _LIBRARY_MODEL_BYTES  # it is fetched when the job is prepared
    folder = resolve_model(spec.model.uri, "spec.model.uri", roots)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _prepare(spec: FineTuneJobSpec, roots: UriRoots, output: OutputFolder) -> "Prepared":
    from thaw_trainer.preparation import prepare_job
    from thaw_trainer.tasks.protocol import JobFiles
    from thaw_trainer.tasks.registry import find_task

    return prepare_job(spec, find_task(spec.task), JobFiles(roots, output.stores, _kept_stores(roots)))


def _kept_stores(roots: UriRoots) -> "KeptStores | None":
    """Those of this machine; a cluster's pods do not stay."""
    from thaw_trainer.data.kept_stores import KeptStores, default_folder

    return KeptStores(default_folder()) if roots.claims is None else None


def _open_journal(spec: FineTuneJobSpec, prepared: "Prepared", output: OutputFolder) -> Journal:
    """The folder's journal, which belongs to this manifest and these inputs by content, or to none yet: then no
    checkpoint does either."""
    return Journal(
        output.journal, digest(_fixed(spec), prepared.key()), digest(_fixed(spec)), output.remove_checkpoints
    )


def _fixed(spec: FineTuneJobSpec) -> dict[str, Any]:
    """What may not change between two runs into the same folder."""
    return {name: value for name, value in spec.manifest().items() if name not in _CHANGEABLE}


def _test_and_export(chosen: "Chosen", exchange: Any, output: OutputFolder) -> dict[str, Any]:
    """What was chosen on the test rows, once, by a gang; its model is written beside its place."""
    import ray

    assignment = Assignment(
        kind="final",
        trial=FINAL,
        spec=chosen.trial.manifest(),
        store=str(chosen.store),
        folder=str(chosen.folder),
        best_epoch=chosen.epoch,
        output=str(output.root),
        trained_on_validation=chosen.trained_on_validation,
    )
    ray.get(exchange.submit.remote(assignment))
    message = ray.get(exchange.next_message.remote(FINAL))
    if "failure" in message:
        raise error_of(message["failure"])
    final: dict[str, Any] = message["result"]
    return final


def _below_threshold(spec: FineTuneJobSpec, final: dict[str, Any]) -> dict[str, Any] | None:
    """What of `evaluation.require` the test metrics do not reach; None when they reach all of it."""
    told = unmet(spec.evaluation.require, final["test"]["metrics"])
    if not told:
        return None
    return TrainerError(BELOW_THRESHOLD, "; ".join(told), "spec.evaluation.require").as_dict()


def _all_failed(records: list[TrialRecord]) -> dict[str, Any]:
    reasons = [
        f"{record.name}: {record.failure['reason']}: {record.failure['message']}"
        for record in records
        if record.failure
    ]
    causes = {record.failure["cause"] for record in records if record.failure}
    message = f"all {len(records)} trials failed; the first: {reasons[0]}" if reasons else "no trial was trained"
    cause = "infrastructure" if causes == {"infrastructure"} else "user"
    return {"reason": ALL_TRIALS_FAILED, "message": message, "cause": cause}


@contextmanager
def _before_training() -> Iterator[None]:
    """What goes wrong with the inputs before training is the manifest's fault."""
    try:
        yield
    except TrainerError as error:
        if error.cause == "user":
            raise InputError(error) from error
        raise


def _log_to(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("thaw")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
