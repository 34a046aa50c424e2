"""How an attempt ended, and whose error it was.

The trainer says so itself in `training.failure`. Without a word from it, the driver's exit code decides, which Ray puts
into its message and KubeRay into the RayJob's; without an exit code something else ended the driver.
"""

import re
from dataclasses import dataclass
from typing import Literal

from thaw_api.contract import EXIT_INFRASTRUCTURE
from thaw_api.status import TrainingStatus
from thaw_operator import reasons
from thaw_operator.observed import RayJob
from thaw_operator.text import one_line, tail_of

Cause = Literal["user", "infrastructure"]
_EXIT_CODE = re.compile(r"exit code (-?\d+)")
_LOGS = re.compile(r"last available logs[^\n]*\n")
_FIRST_SIGNAL = 128
"""A shell that was told of a signal ends with this number and the signal's."""


@dataclass(frozen=True)
class Success:
    """The driver ended well."""


@dataclass(frozen=True)
class Loss:
    """The attempt is over without a result."""

    cause: Cause
    reason: str
    message: str
    log_tail: str | None = None


Outcome = Success | Loss


def outcome_of(ray_job: RayJob, training: TrainingStatus | None) -> Outcome | None:
    """The end of the attempt that a RayJob is; None while it goes on."""
    if ray_job.deployment_status == "ValidationFailed":
        return Loss("user", reasons.RAY_JOB_INVALID, one_line(f"KubeRay refuses the RayJob: {ray_job.message}"))
    if ray_job.deployment_status not in ("Complete", "Failed"):
        return None
    if ray_job.job_status == "SUCCEEDED":
        return Success()
    said = _said(ray_job, training)
    if said is not None:
        return said
    if ray_job.job_status == "STOPPED":
        return Loss("user", reasons.DRIVER_STOPPED, "the Ray job was stopped by somebody", _log_tail(ray_job))
    if ray_job.job_status != "FAILED":
        message = one_line(f"KubeRay gave up: {ray_job.reason or 'no reason given'}: {ray_job.message}")
        return Loss("infrastructure", ray_job.reason or reasons.SUBMISSION_FAILED, message)
    return _by_exit_code(ray_job)


def _said(ray_job: RayJob, training: TrainingStatus | None) -> Loss | None:
    """What the trainer said of this attempt; a word about another one is ignored."""
    failure = training.failure if training else None
    if failure is None or failure.attempt != ray_job.attempt:
        return None
    return Loss(failure.cause, failure.reason, failure.message, _log_tail(ray_job))


def _by_exit_code(ray_job: RayJob) -> Loss:
    found = _EXIT_CODE.search(ray_job.message)
    if found is None:
        message = one_line(f"the driver ended without an exit code: {ray_job.message}")
        return Loss("infrastructure", reasons.DRIVER_KILLED, message, _log_tail(ray_job))
    code = int(found[1])
    if code < 0 or code >= _FIRST_SIGNAL:
        message = f"the driver was killed (exit code {code})"
        return Loss("infrastructure", reasons.DRIVER_KILLED, message, _log_tail(ray_job))
    cause: Cause = "infrastructure" if code == EXIT_INFRASTRUCTURE else "user"
    return Loss(cause, reasons.DRIVER_FAILED, f"the driver ended with exit code {code}", _log_tail(ray_job))


def _log_tail(ray_job: RayJob) -> str | None:
    """The end of the driver's log, which Ray appends to its message."""
    begin = _LOGS.search(ray_job.message)
    return tail_of(ray_job.message[begin.end() :]) if begin else None
