"""The driver: load job, prepare data once, search, test the best once, export, report. Read `_run` from top down."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw_api.job import FineTuneJob, FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search_space import objective, trial_count, trial_spec
from thaw_trainer.data.store import digest
from thaw_trainer.durations import seconds_of
from thaw_trainer.errors import ALL_TRIALS_FAILED, TrainerError, error_of
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.outputs.result import write_result
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.reporting.events import DataPrepared, Event, Observer, SearchStarted, Tested, TrialEnded
from thaw_trainer.search.journal import Journal, TrialRecord
from thaw_trainer.search.ledger import Ledger, SearchLimits
from thaw_trainer.search.parallelism import plan_slots
from thaw_trainer.slots.assignment import FINAL, Assignment
from thaw_trainer.uris import resolve_data, resolve_model

if TYPE_CHECKING:
    from thaw_trainer.preparation import Prepared

_CHANGEABLE = {"output", "cluster", "suspend", "restartPolicy", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}
"""Fields of the spec that may differ between two runs into the same folder."""

_log = logging.getLogger("thaw.driver")


class InputError(Exception):
    """The job cannot be begun: `error` says why. Nothing was trained."""

    def __init__(self, error: TrainerError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Stopwatch:
    """Wall time by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the block's time to a stage."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start

    def all(self) -> dict[str, float]:
        """The stages, and the total so far."""
        return self.seconds | {"total": time.monotonic() - self.began}


def run_job(job: FineTuneJob, base: Path, root: Path, observer: Observer) -> dict[str, Any]:
    """Runs a job on this machine and returns what its result.json says.

    Args:
        base: folder that relative file: URIs start from.
        root: the output folder. When it holds an earlier run of the same job, that run goes on; when that run has
            finished, its result is returned.

    Raises:
        InputError: data, model or schedule cannot be used; known before training.
        TrainerError: the run could not go on (output not writable, no gang could be started).
    """
    watch, output = Stopwatch(), OutputFolder(root)
    with output.locked():
        try:
            return _run(job, base, output, observer, watch)
        finally:
            shutil.rmtree(output.ray, ignore_errors=True)


def _run(job: FineTuneJob, base: Path, output: OutputFolder, observer: Observer, watch: Stopwatch) -> dict[str, Any]:
    _log_to(output.logs / "driver.log")
    with _before_training():
        model_bytes = _check_inputs(job.spec, base)
    from thaw_trainer.ray_session import RaySession

    session = RaySession()
    try:
        with watch.stage("setup"), _before_training():
            import torch  # noqa: F401  before Ray Train, which imports it too

            exchange, plan = session.open_slots(
                lambda machine: plan_slots(job.spec, machine, model_bytes), job.spec.task, output.logs, output.ray
            )
        with watch.stage("prepare"), _before_training():
            prepared = _prepare(job.spec, base, output)
            journal = Journal(output.journal, _identity(job.spec, prepared))
        if journal.interrupted and output.result.is_file():
            return _finished(output)
        observer(DataPrepared(prepared.facts["counts"], watch.seconds["prepare"]))
        ledger = _open_ledger(job.spec, journal, prepared, output, observer)
        observer(_search_started(job.spec, ledger, plan.slots, plan.workers, plan.threads))
        with watch.stage("search"):
            _search(job.spec, ledger, prepared, exchange, plan.slots, output)
        if ledger.fatal is not None:
            raise error_of(ledger.fatal)
        best = ledger.best()
        final: dict[str, Any] = {}
        if best is not None:
            with watch.stage("test"):
                final = _test_and_export(job.spec, best, prepared, exchange, output)
            observer(Tested(final["test"]["metrics"], final["test"]["rows"]))
        result = _write_outputs(_summarize(job, ledger, prepared, best, final, watch), output)
    finally:
        session.close()
    journal.close()
    return result


def _summarize(
    job: FineTuneJob,
    ledger: Ledger,
    prepared: "Prepared",
    best: TrialRecord | None,
    final: dict[str, Any],
    watch: Stopwatch,
) -> RunSummary:
    metric, mode = objective(job.spec)
    return RunSummary(
        job=job,
        metric=metric,
        mode=mode,
        records=tuple(ledger.records),
        facts=prepared.facts,
        seconds=watch.all(),
        best=best,
        final=final,
        failure=None if best else _all_failed(ledger.records),
        warnings=tuple(best.reports[-1]["warnings"]) if best else (),
    )


def _check_inputs(spec: FineTuneJobSpec, base: Path) -> int:
    """Finds what is missing before anything is started; returns the bytes of the model's weights."""
    for name in ("train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None:
            resolve_data(source.uri, f"spec.data.{name}.uri", base)
    folder = resolve_model(spec.model.uri, "spec.model.uri", base)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _prepare(spec: FineTuneJobSpec, base: Path, output: OutputFolder) -> "Prepared":
    from thaw_trainer.preparation import prepare_job
    from thaw_trainer.tasks.protocol import JobFiles
    from thaw_trainer.tasks.registry import find_task

    return prepare_job(spec, find_task(spec.task), JobFiles(base, output.stores))


def _identity(spec: FineTuneJobSpec, prepared: "Prepared") -> str:
    """What may not change between two runs into one folder: the manifest and the inputs' content."""
    fixed = {name: value for name, value in spec.manifest().items() if name not in _CHANGEABLE}
    return digest(fixed, prepared.key())


def _finished(output: OutputFolder) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(output.result.read_text(encoding="utf-8"))
    return result


def _open_ledger(
    spec: FineTuneJobSpec, journal: Journal, prepared: "Prepared", output: OutputFolder, observer: Observer
) -> Ledger:
    from thaw_trainer.search.points import points_of
    from thaw_trainer.search.stopping import stopping_rule

    metric, mode = objective(spec)
    rule = stopping_rule(spec.search.scheduler, mode, spec.training.epochs, prepared.first_phase)
    budget = spec.search.time_budget
    limits = SearchLimits(trial_count(spec), time.time() + seconds_of(budget) if budget else None)

    def observe(event: Event) -> None:
        if isinstance(event, TrialEnded):
            _forget_checkpoints(ledger, event.record, output)
        observer(event)

    ledger = Ledger(journal, points_of(spec, len(journal.records)), rule, limits, metric, mode, observe, time.time)
    return ledger


def _forget_checkpoints(ledger: Ledger, ended: TrialRecord, output: OutputFolder) -> None:
    """Keeps what can still be asked for: of trials that are over, only the best one's best epoch."""
    from thaw_trainer.loop.checkpoint import Checkpoints

    best = ledger.best()
    for record in ledger.records:
        if record.state != "running" and record is not best:
            shutil.rmtree(output.checkpoints(record.name), ignore_errors=True)
    if best is ended:
        Checkpoints(output.checkpoints(ended.name)).keep_best_only()


def _search_started(spec: FineTuneJobSpec, ledger: Ledger, slots: int, workers: int, threads: int) -> SearchStarted:
    metric, mode = objective(spec)
    over = [record for record in ledger.records if record.state != "running"]
    return SearchStarted(
        trials=trial_count(spec),
        slots=slots,
        workers=workers,
        threads=threads,
        finished=len(over),
        interrupted=len(ledger.records) - len(over),
        metric=metric,
        mode=mode,
        epochs=spec.training.epochs,
    )


def _search(
    spec: FineTuneJobSpec, ledger: Ledger, prepared: "Prepared", exchange: Any, slots: int, output: OutputFolder
) -> None:
    from thaw_trainer.search.tuning import tune_trials

    def assign(record: TrialRecord) -> Assignment:
        trial = _spec_of(spec, record.parameters)
        return Assignment(
            kind="trial",
            trial=record.ordinal,
            spec=trial.manifest(),
            store=str(prepared.store_of(trial)),
            folder=str(output.checkpoints(record.name)),
            reported=len(record.reports),
        )

    if ledger.has_more():
        tune_trials(ledger, assign, exchange, objective(spec)[0], slots, output.ray)


def _spec_of(spec: FineTuneJobSpec, parameters: dict[str, Scalar]) -> FineTuneJobSpec:
    return trial_spec(spec, parameters)


def _test_and_export(
    spec: FineTuneJobSpec, best: TrialRecord, prepared: "Prepared", exchange: Any, output: OutputFolder
) -> dict[str, Any]:
    """The best trial's best epoch on the test rows, once, by a gang; its model is written beside its place."""
    import ray

    trial = _spec_of(spec, best.parameters)
    report = best.best_report()
    assert report is not None
    assignment = Assignment(
        kind="final",
        trial=FINAL,
        spec=trial.manifest(),
        store=str(prepared.store_of(trial)),
        folder=str(output.checkpoints(best.name)),
        best_epoch=report["epoch"],
        output=str(output.root),
    )
    ray.get(exchange.submit.remote(assignment))
    message = ray.get(exchange.next_message.remote(FINAL))
    if "failure" in message:
        raise error_of(message["failure"])
    final: dict[str, Any] = message["result"]
    return final


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


def _write_outputs(summary: RunSummary, output: OutputFolder) -> dict[str, Any]:
    """Writes everything, the result last; then the checkpoints are of no more use."""
    from thaw_trainer.loop.checkpoint import writing
    from thaw_trainer.outputs.model_card import write_model_card
    from thaw_trainer.outputs.report import write_report
    from thaw_trainer.outputs.trial_table import write_trials

    with writing(output.root):
        write_trials(summary, output.trials)
        write_report(summary, output.report)
        if summary.best:
            write_model_card(summary, output.unfinished_model)
            shutil.rmtree(output.model, ignore_errors=True)
            output.unfinished_model.rename(output.model)
    result = write_result(summary, output.result)
    if summary.best:
        shutil.rmtree(output.root / "checkpoints", ignore_errors=True)
    return result


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
