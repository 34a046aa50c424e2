"""What a person asks, checked, and the answer."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from thaw_api import FieldError, FineTuneJobSpec, InvalidManifest
from thaw_api.search_space import trial_count
from thaw_api.tasks import TASKS
from thaw_trainer.advice.catalogue import listed
from thaw_trainer.advice.device import Device, find_device
from thaw_trainer.advice.manifest import LENGTHS, Job, read_job
from thaw_trainer.advice.proposals import Proposal, Way, propose, usual_ways
from thaw_trainer.advice.work import Stretch, Work
from thaw_trainer.durations import seconds_of

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
_TIME = re.compile(r"(?=.)(\d+h)?(\d+m)?(\d+s)?")
_NO_LENGTH = ("image-classification", "face-recognition", "object-detection")
_DEFAULT_TARGET, _DEFAULT_EPOCHS, _DEFAULT_BATCH = 64, 3.0, 32


@dataclass(frozen=True)
class Question:
    """What the command line says; None where it says nothing."""

    task: str | None = None
    rows: int | None = None
    length: float | None = None
    target_length: int | None = None
    epochs: float | None = None
    batch_size: int | None = None
    memory: str | None = None
    device: str = "cpu"
    teraflops: float | None = None
    time: str = "1h"


@dataclass(frozen=True)
class Answer:
    """The proposals, and what they are for."""

    task: str
    work: dict[str, Any]
    device: Device
    seconds: float
    """The budget of a trial."""
    proposals: list[Proposal]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        device = {
            "name": self.device.name,
            "memoryBytes": round(self.device.memory),
            "float32OperationsPerSecond": round(self.device.float32),
            "bfloat16OperationsPerSecond": round(self.device.bfloat16),
            "utilization": self.device.utilization,
        }
        models = [each.as_json() for each in self.proposals]
        return {"task": self.task, **self.work, "budgetSeconds": self.seconds, "device": device, "models": models}


def answer(question: Question, spec: FineTuneJobSpec | None = None, base: Path | None = None) -> Answer:
    """Proposes models for a task, or for the task, the rows and the schedule of a job.

    Args:
        spec: a job's spec; without one, the question has the task.
        base: folder that the job's relative file: URIs start from.

    Raises:
        InvalidManifest: each error names an option.
        TrainerError: the job's data is not there.
    """
    task = _task(question, spec)
    _check(question, task, spec is not None)
    seconds, memory = seconds_of(question.time), None if question.memory is None else _bytes(question.memory)
    job = read_job(spec, base or Path(), question.rows) if spec else None
    if spec is not None and job is None:
        message = f"the rows of {spec.data.train.uri} cannot be counted from here: say how many"
        raise InvalidManifest([FieldError("--rows", message)])
    rows = job.rows if job else question.rows or 0
    length = question.length or (job.length if job else None) or LENGTHS.get(task, 1.0)
    target = question.target_length or (spec and spec.data.batching.max_target_length) or _DEFAULT_TARGET
    epochs = question.epochs or _DEFAULT_EPOCHS
    batch = question.batch_size or _DEFAULT_BATCH
    device = find_device(question.device, question.teraflops, memory)
    work = Work(rows, length, target, (Stretch(epochs),), batch)
    ways = [_as_in(job, length, target)] if job else usual_ways(work)
    trials = trial_count(job.spec) if job else 1
    about: dict[str, Any] = {"rows": rows}
    about |= {} if task in _NO_LENGTH else {"length": length}
    about |= {"targetLength": target} if TASKS[task].writes_text else {}
    about |= {"epochs": job.spec.training.epochs, "batchSize": job.spec.training.batch_size} if job else {}
    about |= {} if job else {"epochs": epochs, "batchSize": batch}
    return Answer(task, about | {"trials": trials}, device, seconds, propose(task, ways, device, seconds, trials))


def _as_in(job: Job, length: float, target: int) -> Way:
    return Way("manifest", lambda shape: job.work(shape, length, target))


def _task(question: Question, spec: FineTuneJobSpec | None) -> str:
    if (question.task is None) == (spec is None):
        raise InvalidManifest([FieldError("TASK", "name a task, or a manifest with -f; one of both")])
    task = spec.task if spec else question.task or ""
    if task not in TASKS:
        near = get_close_matches(task, TASKS, n=3) or list(TASKS)
        raise InvalidManifest([FieldError("TASK", f"there is no task {task!r}; near: {', '.join(near)}")])
    if not listed(task):
        raise InvalidManifest([FieldError("TASK", f"no models are listed for {task}: its policies are small ones")])
    return task


def _check(question: Question, task: str, has_job: bool) -> None:
    errors = []
    if question.rows is None and not has_job:
        errors.append(FieldError("--rows", "required, and missing: how many rows are trained on"))
    numbers = {
        "--rows": question.rows,
        "--length": question.length,
        "--target-length": question.target_length,
        "--epochs": question.epochs,
        "--batch-size": question.batch_size,
        "--teraflops": question.teraflops,
    }
    errors += [
        FieldError(name, f"must be above 0; found {value}")
        for name, value in numbers.items()
        if value is not None and not value > 0
    ]
    if question.length is not None and task in _NO_LENGTH:
        errors.append(FieldError("--length", f"rows of {task} have none: images are brought to one size"))
    if question.target_length is not None and not TASKS[task].writes_text:
        errors.append(FieldError("--target-length", f"models of task {task} write no text"))
    if has_job:
        named = {"--epochs": question.epochs, "--batch-size": question.batch_size}
        errors += [
            FieldError(name, "the manifest says it; use --set") for name, value in named.items() if value is not None
        ]
    if question.memory is not None and not _BYTES.fullmatch(question.memory):
        errors.append(FieldError("--memory", f"must be bytes, such as 16Gi; found {question.memory!r}"))
    if not _TIME.fullmatch(question.time):
        errors.append(FieldError("--time", f"must be a duration, such as 2h or 90m; found {question.time!r}"))
    if errors:
        raise InvalidManifest(errors)


def _bytes(text: str) -> float:
    match = _BYTES.fullmatch(text)
    assert match is not None, "checked before"
    return float(match.group(1)) * _UNITS[match.group(2) or ""]
