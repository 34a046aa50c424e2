"""From what is observed to what is wanted. Pure and total: the same state gives the same decision, and a state that
needs nothing gives an empty one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from thaw_api.contract import attempt_name
from thaw_api.status import Failure, JobPhase, Restarts
from thaw_operator import reasons
from thaw_operator.children.ray_job import RAY_JOB
from thaw_operator.decide import standing
from thaw_operator.decide.decision import Decision
from thaw_operator.decide.obstacles import before_creation, head_lost_at, leftovers, of_pods, settled_at
from thaw_operator.decide.outcome import Loss, Outcome, Success, outcome_of
from thaw_operator.decide.standing import Standing
from thaw_operator.decide.status import (
    UNCHANGED,
    Changes,
    active_seconds,
    attempt_of,
    is_over,
    notices_of,
    owned_part,
    restarts_of,
    status_of,
    wanted_attempt,
)
from thaw_operator.decide.wanted import missing, unfinished, unwanted, wanted_children
from thaw_operator.observed import Child, Job, Observed, RayJob
from thaw_operator.settings import Settings

_HEAD_GONE_SECONDS = 10.0
"""How long a head may be missing before its attempt is lost: pod, cluster and RayJob are seen at different times."""


def decide(observed: Observed, now: datetime, settings: Settings) -> Decision:
    """What is wanted now. Read it as a list of questions; the first that is answered decides."""
    job = observed.job
    if job.deleting:
        return Decision()
    if is_over(job):
        return _after_the_end(observed)
    if job.spec is None:
        message = "; ".join(str(error) for error in job.errors)
        return _fail(observed, now, Loss("user", reasons.INVALID_SPEC, message), accepted=False)
    attempt = attempt_of(job)
    current = _current(observed, attempt)
    outcome: Outcome | None = outcome_of(current, job.status.training) if current else None
    if isinstance(outcome, Success):
        return _succeed(observed, now)
    if job.spec.suspend:
        return _suspend(observed, now)
    deadline = _deadline(job, now)
    if deadline is not None and deadline <= now:
        limit = job.spec.active_deadline_seconds
        return _fail(observed, now, Loss("user", reasons.DEADLINE_EXCEEDED, f"the job was active for {limit} s"))
    if outcome is not None:
        return _after_loss(observed, now, attempt, outcome)
    if current is not None:
        return _follow(observed, now, settings, current, deadline)
    if job.status.phase in ("Starting", "Running"):
        gone = Loss(
            "infrastructure", reasons.RAY_JOB_DELETED, f"somebody deleted {attempt_name(job.key.name, attempt)}"
        )
        return _after_loss(observed, now, attempt, gone)
    return _begin(observed, now, settings, wanted_attempt(job), deadline)


def _begin(observed: Observed, now: datetime, settings: Settings, attempt: int, deadline: datetime | None) -> Decision:
    """No RayJob of this attempt exists: it is created when nothing stands in its way."""
    job = observed.job
    phase: JobPhase = "Restarting" if job.status.phase == "Restarting" else "Queued"
    wanted, changes = wanted_children(job, attempt), Changes(attempt=attempt)
    again = _earliest(now + timedelta(seconds=settings.recheck_seconds), deadline)
    extra = unwanted(observed, attempt)
    if leftovers(observed, attempt, wanted):
        message = "waiting until the pods of the last attempt, or of an older job of this name, are gone"
        place = standing.waiting(phase, reasons.WAITING_FOR_TEARDOWN, message)
        known = job.status.phase == "Restarting" and attempt_of(job) == attempt
        if known:  # its message says why it restarts, which is worth more
            return Decision(delete=extra, look_again=again)
        return _decision(observed, now, place, changes, delete=extra, look_again=again)
    obstacle = before_creation(observed, wanted)
    if obstacle is not None:
        place = standing.waiting(phase, obstacle.reason, obstacle.message, obstacle=True)
        return _decision(observed, now, place, changes, delete=extra, look_again=again)
    create = missing(observed, attempt, settings)
    if phase == "Restarting" and attempt_of(job) == attempt:
        return Decision(create=create, delete=extra, look_again=again)
    place = standing.waiting(phase, reasons.CREATING, f"creating {attempt_name(job.key.name, attempt)}")
    return _decision(observed, now, place, changes, create=create, delete=extra, look_again=again)


def _follow(
    observed: Observed, now: datetime, settings: Settings, current: RayJob, deadline: datetime | None
) -> Decision:
    """The attempt's RayJob exists and goes on: say where it stands, and notice when it is lost."""
    attempt = current.attempt
    if current.child.deleting:
        return Decision(look_again=deadline)
    lost_at = (
        None if current.suspended else head_lost_at(observed, attempt, settings.head_lost_seconds, _HEAD_GONE_SECONDS)
    )
    if lost_at is not None and lost_at <= now:
        return _after_loss(observed, now, attempt, _head_loss(observed, attempt))
    repair = tuple(child for child in missing(observed, attempt, settings) if child["kind"] != RAY_JOB)
    again = _earliest(deadline, lost_at, settled_at(observed, now))
    place = _standing_of(observed, current, now)
    return _decision(observed, now, place, create=repair, delete=unwanted(observed, attempt), look_again=again)


def _standing_of(observed: Observed, current: RayJob, now: datetime) -> Standing:
    job, name = observed.job, current.child.reference.name
    if current.suspended:
        return standing.in_queue(f"{name} waits for its queue to admit it")
    if current.deployment_status == "Running" and current.job_status == "RUNNING":
        return standing.running(f"the driver of {name} runs")
    if current.deployment_status == "Running":
        if job.status.phase == "Running":  # KubeRay has no word from the driver's cluster for a moment
            return standing.running(f"the driver of {name} runs")
        return standing.starting(reasons.STARTING, f"the driver of {name} starts", ready=True)
    obstacle = of_pods(observed, current.attempt, now)
    if obstacle is not None:
        return standing.starting(obstacle.reason, obstacle.message, ready=False, obstacle=True)
    return standing.starting(reasons.STARTING, f"head and workers of {name} start", ready=False)


def _head_loss(observed: Observed, attempt: int) -> Loss:
    heads = [pod for pod in observed.pods if pod.head and pod.attempt == attempt and pod.problem]
    why = f": {heads[0].problem.message}" if heads and heads[0].problem else ""
    message = f"the head of {attempt_name(observed.job.key.name, attempt)} is gone{why}"
    return Loss("infrastructure", reasons.HEAD_LOST, message)


def _after_loss(observed: Observed, now: datetime, attempt: int, loss: Loss) -> Decision:
    """The next attempt, when the cause and the budget allow one."""
    job = observed.job
    assert job.spec is not None
    before = job.status.restarts or Restarts()
    used, budget = before.infrastructure or 0, job.spec.restart_policy.on_infrastructure
    if loss.cause == "user" or used >= budget:
        return _fail(observed, now, loss)
    restarts = before.model_copy(update={"infrastructure": used + 1})
    message = f"{loss.message}; attempt {attempt + 1} follows (restart {used + 1} of {budget})"
    place = standing.waiting("Restarting", loss.reason, message)
    changes = Changes(attempt=attempt + 1, restarts=restarts)
    return _decision(observed, now, place, changes, delete=unwanted(observed, attempt + 1), look_again=now)


def _suspend(observed: Observed, now: datetime) -> Decision:
    """No RayJob is wanted. With no attempt so far, none has a number."""
    extra = unwanted(observed, None)
    torn_down = not extra and not observed.ray_jobs and not observed.ray_clusters and not observed.pods
    message = "spec.suspend is true" if torn_down else "spec.suspend is true; the cluster is being removed"
    return _decision(observed, now, standing.suspended(message, torn_down=torn_down), delete=extra)


def _succeed(observed: Observed, now: datetime) -> Decision:
    training = observed.job.status.training
    result = training.result if training else None
    if result is None:
        assert observed.job.spec is not None
        message = f"the driver succeeded, but its last report is missing: look into {observed.job.spec.output.uri}"
        return _decision(observed, now, standing.succeeded(reasons.RESULT_MISSING, message))
    best = training.summary.best if training and training.summary else None
    return _decision(
        observed,
        now,
        standing.succeeded(reasons.SUCCEEDED, f"{best + '; ' if best else ''}the result is in {result.uri}"),
    )


def _fail(observed: Observed, now: datetime, loss: Loss, *, accepted: bool = True) -> Decision:
    failure = Failure(reason=loss.reason, message=loss.message[:4096], log_tail=loss.log_tail)
    place = standing.failed(loss.reason, loss.message, accepted=accepted)
    return _decision(observed, now, place, Changes(failure=failure), delete=unfinished(observed))


def _after_the_end(observed: Observed) -> Decision:
    """A job that is over stays as it is; no cluster of it goes on. Its generation is noted, so that nobody waits."""
    job = observed.job
    delete = unfinished(observed)
    if job.status.observed_generation == job.generation:
        return Decision(delete=delete)
    noted = [one.model_copy(update={"observed_generation": job.generation}) for one in job.status.conditions or ()]
    status = owned_part(job.status).model_copy(update={"observed_generation": job.generation, "conditions": noted})
    return Decision(status=status, delete=delete)


def _decision(
    observed: Observed,
    now: datetime,
    place: Standing,
    changes: Changes = UNCHANGED,
    *,
    create: tuple[dict[str, Any], ...] = (),
    delete: tuple[Child, ...] = (),
    look_again: datetime | None = None,
) -> Decision:
    job = observed.job
    status = status_of(job, place, now, replace(changes, restarts=restarts_of(observed, changes.restarts)))
    if status == owned_part(job.status):
        return Decision(create=create, delete=delete, look_again=look_again)
    return Decision(status, delete, create, notices_of(job, place), look_again)


def _current(observed: Observed, attempt: int) -> RayJob | None:
    for one in observed.ray_jobs:
        if one.child.owner_uid == observed.job.uid and one.attempt == attempt:
            return one
    return None


def _deadline(job: Job, now: datetime) -> datetime | None:
    """When activeDeadlineSeconds will be over; None without one, and while the clock stands still."""
    assert job.spec is not None
    limit = job.spec.active_deadline_seconds
    if limit is None or job.status.active_since is None:
        return None
    return now + timedelta(seconds=limit - active_seconds(job.status, now))


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
