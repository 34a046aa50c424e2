"""Where a job stands, and what that means in conditions: one function for each phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from thaw_api.status import Condition, JobPhase
from thaw_operator import reasons
from thaw_operator.moments import format_moment
from thaw_operator.text import one_line


@dataclass(frozen=True)
class Standing:
    """A phase with its reason; `message` is the one line that people read."""

    phase: JobPhase
    reason: str
    message: str
    true: frozenset[str]
    """Types of the conditions that hold."""
    obstacle: bool = False
    """Whether something that somebody must correct keeps the job from going on."""


# These say something while they are false too; the others appear only while they hold.
_ALWAYS = (reasons.ACCEPTED, reasons.CLUSTER_READY, reasons.RUNNING, reasons.SUSPENDED)
_WHEN_TRUE = (reasons.COMPLETE, reasons.FAILED, reasons.RECONCILING, reasons.STALLED)


def _standing(phase: JobPhase, reason: str, message: str, *true: str, obstacle: bool = False) -> Standing:
    return Standing(phase, reason, one_line(message), frozenset({reasons.ACCEPTED, *true}), obstacle)


def waiting(phase: JobPhase, reason: str, message: str, *, obstacle: bool = False) -> Standing:
    """No RayJob of the wanted attempt exists yet (`phase` is Queued or Restarting)."""
    return _standing(phase, reason, message, reasons.RECONCILING, obstacle=obstacle)


def in_queue(message: str) -> Standing:
    """The RayJob exists, and a queue holds it back."""
    return _standing("Queued", reasons.IN_QUEUE, message)


def starting(reason: str, message: str, *, ready: bool, obstacle: bool = False) -> Standing:
    """The cluster is being made, or (`ready`) is there and the driver begins."""
    return _standing("Starting", reason, message, *([reasons.CLUSTER_READY] if ready else []), obstacle=obstacle)


def running(message: str) -> Standing:
    """The driver runs."""
    return _standing("Running", reasons.RUNNING, message, reasons.CLUSTER_READY, reasons.RUNNING)


def suspended(message: str, *, torn_down: bool) -> Standing:
    """The user wants no cluster; it may still be on its way down."""
    still = [] if torn_down else [reasons.RECONCILING]
    return _standing("Suspended", reasons.SUSPENDED_BY_USER, message, reasons.SUSPENDED, *still)


def succeeded(reason: str, message: str) -> Standing:
    """The job is done."""
    return _standing("Succeeded", reason, message, reasons.COMPLETE)


def failed(reason: str, message: str, *, accepted: bool = True) -> Standing:
    """The job is given up."""
    standing = _standing("Failed", reason, message, reasons.FAILED, reasons.STALLED)
    return standing if accepted else Standing("Failed", reason, standing.message, standing.true - {reasons.ACCEPTED})


def conditions_of(
    standing: Standing, earlier: Sequence[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions that a standing means; each keeps the time when it last changed between true and false."""
    before = {condition.type: condition for condition in earlier}
    wanted = [*_ALWAYS, *(kind for kind in _WHEN_TRUE if kind in standing.true)]
    return tuple(_condition(kind, standing, before.get(kind), generation, now) for kind in wanted)


def _condition(kind: str, standing: Standing, before: Condition | None, generation: int, now: datetime) -> Condition:
    holds = kind in standing.true
    status: Literal["True", "False"] = "True" if holds else "False"
    reason, message = standing.reason, standing.message
    if kind == reasons.ACCEPTED and holds:
        reason, message = reasons.ACCEPTED, "the spec can be run"
    elif kind == reasons.SUSPENDED and not holds:
        reason, message = "NotSuspended", "spec.suspend is false"
    elif kind == reasons.CLUSTER_READY and holds:
        reason, message = "Provisioned", "head and workers have been ready"
    unchanged = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before and unchanged else format_moment(now),
        reason=reason,
        message=message,
    )
