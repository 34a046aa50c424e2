"""A standing as the operator's part of the status, and the Events that tell of a change."""

from dataclasses import dataclass
from datetime import datetime

from thaw_api.contract import attempt_name
from thaw_api.status import Failure, FineTuneJobStatus, Restarts
from thaw_operator import reasons
from thaw_operator.children.ownership import QUEUE_LABEL
from thaw_operator.decide.decision import Notice
from thaw_operator.decide.standing import Standing, conditions_of
from thaw_operator.moments import format_moment, parse_moment
from thaw_operator.observed import Job, Observed

_ACTIVE = ("Starting", "Running", "Restarting")
_OVER = ("Succeeded", "Failed")
_WARNINGS = ("Failed", "Restarting")


@dataclass(frozen=True)
class Changes:
    """What a decision changes beyond the standing; None: as it was."""

    attempt: int | None = None
    restarts: Restarts | None = None
    failure: Failure | None = None


UNCHANGED = Changes()


def attempt_of(job: Job) -> int:
    """The number of the newest attempt, from 1; 0 before the first."""
    name = job.status.ray_job_name
    return int(name.rpartition("-")[2]) if name else 0


def wanted_attempt(job: Job) -> int:
    """The attempt that is wanted: the newest one, or the next where there is none yet, or the last was suspended."""
    newest = attempt_of(job)
    return newest + 1 if newest == 0 or job.status.phase == "Suspended" else newest


def is_over(job: Job) -> bool:
    """Whether the job has ended, for good."""
    return job.status.phase in _OVER


def active_seconds(status: FineTuneJobStatus, now: datetime) -> float:
    """How long the job has been active; time in a queue or suspended does not count."""
    since = status.active_since
    running = max(0.0, (now - parse_moment(since)).total_seconds()) if since else 0.0
    return (status.active_seconds or 0) + running


def status_of(job: Job, standing: Standing, now: datetime, changes: Changes = UNCHANGED) -> FineTuneJobStatus:
    """The operator's whole part of the status."""
    before = job.status
    active = standing.phase in _ACTIVE
    since = before.active_since or format_moment(now) if active else None
    paused = before.active_since is not None and not active
    attempt = attempt_of(job) if changes.attempt is None else changes.attempt
    return FineTuneJobStatus(
        observed_generation=job.generation,
        phase=standing.phase,
        start_time=before.start_time or (format_moment(now) if active else None),
        completion_time=before.completion_time or (format_moment(now) if standing.phase in _OVER else None),
        active_seconds=int(active_seconds(before, now)) if paused else before.active_seconds,
        active_since=since,
        ray_job_name=attempt_name(job.key.name, attempt) if attempt else None,
        restarts=changes.restarts or before.restarts,
        conditions=list(conditions_of(standing, before.conditions or (), job.generation, now)),
        failure=changes.failure or before.failure,
        message=standing.message,
        queue=job.labels.get(QUEUE_LABEL),
    )


def restarts_of(observed: Observed, changed: Restarts | None) -> Restarts | None:
    """The counters, with what a queue says of preemption. It never falls: a queue's count goes with its RayJob."""
    restarts = changed or observed.job.status.restarts
    before = (restarts.preemption if restarts else None) or 0
    counted = [
        one.preempted_before + observed.evictions.get(one.child.uid, 0)
        for one in observed.ray_jobs
        if one.child.owner_uid == observed.job.uid
    ]
    preemption = max(counted, default=0)
    if preemption <= before:
        return restarts
    return (restarts or Restarts()).model_copy(update={"preemption": preemption})


def owned_part(status: FineTuneJobStatus) -> FineTuneJobStatus:
    """A status without the trainer's part."""
    return status.model_copy(update={"training": None})


def notices_of(job: Job, standing: Standing) -> tuple[Notice, ...]:
    """One Event for a new phase, or for a new obstacle within it."""
    if job.status.phase != standing.phase:
        return (Notice(standing.phase in _WARNINGS or standing.obstacle, _event_reason(standing), standing.message),)
    if standing.obstacle and standing.reason != _reason_before(job):
        return (Notice(True, standing.reason, standing.message),)
    return ()


def _event_reason(standing: Standing) -> str:
    return standing.reason if standing.obstacle or standing.phase in _WARNINGS else standing.phase


def _reason_before(job: Job) -> str | None:
    found = [one.reason for one in job.status.conditions or () if one.type == reasons.CLUSTER_READY]
    return found[0] if found else None
