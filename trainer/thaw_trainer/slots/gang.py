"""The workers' side of a slot: `work` runs on every worker of a gang, for the whole search."""

import logging
import os
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.examples import TEST_ROWS
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import COMPILE_FAILED, OUT_OF_MEMORY, TRIAL_ERROR, TrainerError
from thaw_trainer.evaluation.calibration import calibration
from thaw_trainer.evaluation.head_inputs import head_inputs
from thaw_trainer.evaluation.intervals import intervals
from thaw_trainer.evaluation.label_errors import listed_errors
from thaw_trainer.evaluation.worst import worst_rows
from thaw_trainer.fused.ahead import GroupMemory, GroupSite
from thaw_trainer.loop.checkpoint import Checkpoints, load_moved, writing
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import predict_split
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.loop.randomness import untouched_process
from thaw_trainer.loop.soup import greedy_soup
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.models.adapter_export import export_model
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.prefix.shelf import default_folder
from thaw_trainer.slots.assignment import Assignment
from thaw_trainer.tasks.protocol import Acts, Predictions, ShowsEpisode, ShowsSamples, Task, plain_columns
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.tasks.row_task import RowTask

_TAKE_SECONDS = 60.0
"""How long rank 0 waits for work before it lets the others of its gang know that there is none yet."""

_log = logging.getLogger("thaw.gang")


class RecycleProcess(Exception):
    """Raised to have Ray Train replace the gang's processes: their state can no longer be trusted."""


class SlotDesk:
    """This gang's line to the exchange."""

    def __init__(self, exchange: Any, slot: int, incarnation: str) -> None:
        self._exchange, self._slot, self._incarnation = exchange, slot, incarnation

    def take(self) -> Any:
        """The next assignment, "closed", or None when none came."""
        return ray.get(self._exchange.take.remote(self._slot, self._incarnation, _TAKE_SECONDS))

    def report(self, assignment: Assignment, report: dict[str, Any]) -> bool:
        """Hands a report over; whether to train on."""
        _log.info("trial %d attempt %d reports epoch %d", assignment.trial, assignment.attempt, report["epoch"])
        go_on: bool = ray.get(
            self._exchange.report.remote(self._slot, self._incarnation, assignment.trial, assignment.attempt, report)
        )
        return go_on

    def finish(self, assignment: Assignment, message: dict[str, Any] | None = None) -> None:
        """Gives the lease back."""
        ray.get(
            self._exchange.finish.remote(self._slot, self._incarnation, assignment.trial, assignment.attempt, message)
        )


def work(
    exchange: Any, slot: int, task_name: str, threads: int, logs: Path, gang: Gang, clock: Callable[[], float]
) -> None:
    """Takes assignments until the exchange is closed. Runs on every worker of the gang.

    Raises:
        RecycleProcess: after an error that leaves the gang unusable; its assignment was given back with its reason.
    """
    _set_up_process(threads, logs / f"slot-{slot}-{gang.rank}.log")
    task_kind = find_task(task_name)
    prefixes, groups = PrefixMemory(default_folder()), GroupMemory()
    desk = SlotDesk(exchange, slot, gang.broadcast(uuid.uuid4().hex))
    _log.info("slot %d rank %d is ready, process %d, %d threads", slot, gang.rank, os.getpid(), threads)
    while True:
        assignment = gang.broadcast(desk.take() if gang.rank == 0 else None)
        if assignment == "closed":
            return
        if assignment is None:
            continue
        _log.info("%s %d, attempt %d", assignment.kind, assignment.trial, assignment.attempt)
        message = None
        try:
            spec = FineTuneJobSpec.model_validate(assignment.spec)
            task = task_kind.open(spec, Path(assignment.store))
            if assignment.kind == "final":
                message = {"result": _test_and_export(task, spec, assignment, gang, clock)}
            elif assignment.kind == "soup":
                message = {"result": greedy_soup(task, spec, assignment.members, Path(assignment.folder), gang)}
            else:
                site = PrefixSite(prefixes, PrefixPlan.from_dict(assignment.prefix))
                first_phase = Path(assignment.first_phase) if assignment.first_phase else None
                # A refit is of other rows than the trial whose values it has, and groups go by values.
                own = None if assignment.keeps_last else GroupSite(groups, tuple(assignment.companions.values()))

                def report(told: dict[str, Any], taken: Assignment = assignment) -> bool:
                    return desk.report(taken, told)

                steps = Steps(report, clock, site, own, first_phase, assignment.keeps_last)
                modes = spec.task_entry.metrics
                state = run_trial(task, spec, Path(assignment.folder), gang, steps, modes, assignment.reported)
                _log.info("trial %d %s", assignment.trial, state)
        except Exception as error:  # whatever a trial raises is that trial's end, not the search's
            failure = describe(error)
            _log.error("%s %d failed: %s", assignment.kind, assignment.trial, traceback.format_exc())
            desk.finish(assignment, {"failure": failure})
            if gang.size > 1 or failure["reason"] in (OUT_OF_MEMORY, COMPILE_FAILED):
                raise RecycleProcess(failure["message"]) from error
            continue
        if gang.rank == 0:
            desk.finish(assignment, message)


def describe(error: Exception) -> dict[str, Any]:
    """Any exception of a trial as its failure."""
    if isinstance(error, TrainerError):
        return error.as_dict()
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return TrainerError(
            OUT_OF_MEMORY,
            f"{error}; a smaller batch per worker (gradientAccumulation) needs less",
            "spec.training.batchSize",
        ).as_dict()
    if _is_compile_error(error):
        return TrainerError(COMPILE_FAILED, f"{type(error).__name__}: {error}", "spec.training.compile").as_dict()
    return TrainerError(TRIAL_ERROR, f"{type(error).__name__}: {error}").as_dict()


def _is_compile_error(error: Exception) -> bool:
    # Triton's own says so in words alone.
    of_a_compiler = type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton"))
    return of_a_compiler or "C compiler" in str(error)


def _test_and_export(
    task: Task, spec: FineTuneJobSpec, assignment: Assignment, gang: Gang, clock: Callable[[], float]
) -> dict[str, Any]:
    """The best epoch's metrics on the validation and test rows; rank 0 writes predictions and the model."""
    output, began = Path(assignment.output), clock()
    with untouched_process():
        model = pristine_model(task, spec).to(gang.device)
        load_moved(model, Checkpoints(Path(assignment.folder)).best_file(assignment.best_epoch))
        result: dict[str, Any] = {}
        kept: dict[str, Predictions | None] = {}
        for split in ("validation", "test"):
            predictions = predict_split(model, task, split, gang, spec.training)
            if predictions is not None:
                result[split] = {
                    "metrics": task.metrics(predictions, full=True),
                    "details": task.details(predictions),
                    "rows": len(np.unique(predictions["id"])),
                }
                with writing(output):
                    output.mkdir(parents=True, exist_ok=True)
                    columns = plain_columns(predictions)
                    np.savez(output / f"{split}-predictions.npz", **columns)  # type: ignore[arg-type]
            kept[split] = predictions
        if gang.rank == 0:
            store, fits = PreparedStore(Path(assignment.store)), not assignment.trained_on_validation
            result["test"] |= _beside_metrics(task, spec, store, kept, fits)
        if spec.evaluation.label_errors is not None and isinstance(task, RowTask):
            labels = PreparedStore(Path(assignment.store)).facts["labels"]
            inputs = head_inputs(model, task, len(labels), gang, spec.training)
            if inputs is not None:
                result["labelErrors"] = listed_errors(*inputs, labels, spec.evaluation.label_errors)
        if gang.rank == 0 and isinstance(task, ShowsSamples):
            result["test"]["details"]["samples"] = _samples(task, model, gang)
        if gang.rank == 0 and isinstance(task, ShowsEpisode):
            result["test"]["details"]["episode"] = task.episode(model.eval(), gang.device)
        tested = clock()
        if gang.rank == 0:
            with writing(output):
                export_model(task, model, spec.model, OutputFolder(output).unfinished_model)
        return result | {"seconds": {"test": tested - began, "export": clock() - tested}}


def _beside_metrics(
    task: Task,
    spec: FineTuneJobSpec,
    store: PreparedStore,
    predictions: dict[str, Predictions | None],
    fits_temperature: bool,
) -> dict[str, Any]:
    """`intervals` of the test metrics, `slices` of the test rows and the `worst` of them, `calibration` of a
    classifier.

    Args:
        fits_temperature: whether the validation rows are held out, so that a temperature can be fitted on them.
    """
    validation, test = predictions["validation"], predictions["test"]
    assert validation is not None
    assert test is not None

    def measure(rows: Predictions) -> dict[str, float]:
        return task.metrics(rows, full=True)

    told: dict[str, Any] = {"intervals": intervals(test, measure, spec.task_entry.interval_budget)}
    found = calibration(validation, test) if fits_temperature else None
    if found:
        told["calibration"] = found
    if not isinstance(task, Acts):
        told["worst"] = worst_rows(test, store.table(TEST_ROWS), store.facts.get("labels", ()))
    if spec.evaluation.slices:
        from thaw_trainer.evaluation.slices import measure_slices, slice_rows  # imports what only conditions need

        rows = slice_rows(spec.evaluation.slices, store.table(TEST_ROWS))
        told["slices"] = measure_slices(rows, test, measure)
    return told


def _samples(task: ShowsSamples, model: torch.nn.Module, gang: Gang) -> list[dict[str, str]]:
    """They are to look at only: a model whose code cannot make them is as good without."""
    try:
        return task.samples(model.eval(), gang.device)
    except Exception as error:  # whatever a model's code raises
        _log.warning("no samples: %s: %s", type(error).__name__, error)
        return []


def _set_up_process(threads: int, log_file: Path) -> None:
    torch.set_num_threads(threads)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log_file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger("thaw").addHandler(handler)
    logging.getLogger("thaw").setLevel(logging.INFO)
    _quieten_transformers()


def _quieten_transformers() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
