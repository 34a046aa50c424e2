"""How a job goes on after an attempt ended: restarts by cause, suspension, deadline."""

import pytest

from tests.unit.operator.world import (
    NAME,
    UID,
    World,
    cluster,
    failed,
    lose_head,
    pod,
    ray_job,
    running,
    spec_of,
    started,
    succeeded,
    torn_down,
)
from thaw_api.status import FineTuneJobStatus, Restarts, ResultStatus, TrainingFailure, TrainingStatus


def attempt_runs(world: World, attempt: int) -> None:
    """The newest attempt was created; now it runs."""
    world.kuberay_says(running(attempt))
    world.ray_clusters, world.pods = [cluster(attempt, since=world.now)], [pod(attempt), pod(attempt, head=False)]
    world.settle()
    assert world.status.phase == "Running"


def test_an_attempt_whose_head_is_lost_is_followed_by_another() -> None:
    world = started()
    lose_head(world, 1)
    world.pass_(seconds=9)
    assert world.status.phase == "Running"
    world.pass_(seconds=1)
    assert (world.status.phase, world.reason("ClusterReady")) == ("Restarting", "HeadLost")
    assert (world.status.ray_job_name, world.status.restarts.infrastructure) == (f"{NAME}-2", 1)  # type: ignore[union-attr]


def test_the_next_attempt_waits_until_the_last_ones_pods_are_gone() -> None:
    world = started()
    lose_head(world, 1)
    world.pass_(seconds=10)
    world.settle()
    assert len(world.created()) == 4
    torn_down(world)
    world.settle()
    assert world.created()[4:] == [f"ConfigMap/{NAME}-2", f"RayJob/{NAME}-2"]
    assert world.status.phase == "Starting"


def test_a_head_that_is_killed_four_times_fails_the_job_after_three_new_attempts() -> None:
    world = started()
    for attempt in (1, 2, 3, 4):
        lose_head(world, attempt)
        world.pass_(seconds=10)
        torn_down(world)
        if attempt < 4:
            world.settle()
            attempt_runs(world, attempt + 1)
    world.settle()
    assert [name for name in world.created() if name.startswith("RayJob")] == [
        f"RayJob/{NAME}-{n}" for n in (1, 2, 3, 4)
    ]
    assert (world.status.phase, world.reason("Failed"), world.condition("Stalled")) == ("Failed", "HeadLost", "True")
    assert world.status.failure is not None
    assert world.status.failure.reason == "HeadLost"
    assert world.ray_jobs == []


def test_a_head_that_is_unready_but_there_gets_its_time() -> None:
    world = started()
    world.ray_clusters = [cluster(head_ready=False, since=world.now)]
    assert world.pass_(seconds=59).status is None
    world.pass_(seconds=1)
    assert world.status.phase == "Restarting"


EXITS = [
    (1, "Failed", "DriverFailed"),
    (2, "Failed", "DriverFailed"),
    (3, "Failed", "DriverFailed"),
    (126, "Failed", "DriverFailed"),
    (127, "Failed", "DriverFailed"),
    (75, "Restarting", "DriverFailed"),
    (137, "Restarting", "DriverKilled"),
    (-9, "Restarting", "DriverKilled"),
    (None, "Restarting", "DriverKilled"),
]


@pytest.mark.parametrize(("code", "phase", "reason"), EXITS)
def test_without_a_word_of_the_trainer_the_exit_code_decides(code: int | None, phase: str, reason: str) -> None:
    world = started()
    world.kuberay_says(failed(exit_code=code))
    world.pass_()
    assert (world.status.phase, world.reason("ClusterReady")) == (phase, reason)


SAID = [("user", "Failed"), ("infrastructure", "Restarting")]


@pytest.mark.parametrize(("cause", "phase"), SAID)
def test_the_trainers_word_goes_before_the_exit_code(cause: str, phase: str) -> None:
    world = started()
    failure = TrainingFailure(attempt=1, cause=cause, reason="ColumnNotFound", message="spec.data.columns.text: no")  # type: ignore[arg-type]
    world.training = TrainingStatus(job_uid=UID, failure=failure)
    world.kuberay_says(failed(exit_code=137 if cause == "user" else 1))
    world.pass_()
    assert (world.status.phase, world.reason("ClusterReady")) == (phase, "ColumnNotFound")


def test_the_trainers_word_about_another_attempt_is_ignored() -> None:
    world = started()
    failure = TrainingFailure(attempt=2, cause="infrastructure", reason="NodeLost", message="")
    world.training = TrainingStatus(job_uid=UID, failure=failure)
    world.kuberay_says(failed(exit_code=1))
    world.pass_()
    assert (world.status.phase, world.reason("Failed")) == ("Failed", "DriverFailed")


def test_a_failure_shows_the_end_of_the_log() -> None:
    world = started()
    world.kuberay_says(failed(log="\x1b[31m" + "line\n" * 5000 + "the last one\n"))
    world.pass_()
    assert world.status.failure is not None
    tail = world.status.failure.log_tail or ""
    assert tail.endswith("line\nthe last one")
    assert len(tail.encode()) <= 4096
    assert "\x1b" not in tail


def test_a_ray_job_that_somebody_deletes_is_an_attempt_that_was_lost() -> None:
    world = started()
    world.kuberay_says()
    torn_down(world)
    world.pass_()
    assert (world.status.phase, world.reason("ClusterReady")) == ("Restarting", "RayJobDeleted")


def test_a_ray_job_that_kuberay_refuses_fails_the_job() -> None:
    world = World()
    world.settle()
    world.kuberay_says(ray_job(deployment="ValidationFailed", message="the spec is invalid"))
    world.settle()
    assert (world.status.phase, world.reason("Failed")) == ("Failed", "RayJobInvalid")


def test_a_budget_of_none_allows_no_restart() -> None:
    world = started(spec=spec_of(restartPolicy={"onInfrastructure": 0}))
    lose_head(world, 1)
    world.pass_(seconds=10)
    assert world.status.phase == "Failed"


def test_a_suspended_job_has_no_cluster_and_resumes_as_the_next_attempt_at_no_charge() -> None:
    world = started()
    world.spec = spec_of(suspend=True)
    world.pass_()
    assert (world.status.phase, world.condition("Suspended"), world.condition("Reconciling")) == (
        *("Suspended", "True", "True"),
    )
    torn_down(world)
    world.settle()
    assert (world.ray_jobs, world.condition("Reconciling")) == ([], None)
    world.spec = spec_of(suspend=False)
    world.settle()
    assert world.status.ray_job_name == f"{NAME}-2"
    assert (world.status.phase, world.status.restarts) == ("Starting", None)


def test_a_job_that_is_created_suspended_makes_nothing_until_it_is_resumed() -> None:
    world = World(spec=spec_of(suspend=True))
    world.settle()
    assert (world.created(), world.status.ray_job_name, world.status.start_time) == ([], None, None)
    world.spec = spec_of()
    world.settle()
    assert world.status.ray_job_name == f"{NAME}-1"


def test_a_job_that_has_just_succeeded_is_complete_though_it_was_to_be_suspended() -> None:
    world = started()
    world.spec = spec_of(suspend=True)
    world.kuberay_says(succeeded())
    world.training = TrainingStatus(job_uid=UID, result=ResultStatus(uri="pvc://models/out"))
    world.settle()
    assert world.status.phase == "Succeeded"


def test_the_deadline_counts_active_time_over_all_attempts_and_not_suspended_time() -> None:
    limited = {"activeDeadlineSeconds": 100}
    world = started(spec=spec_of(**limited))
    last = world.decision()
    assert last.look_again is not None
    assert (last.look_again - world.now).total_seconds() == 100
    world.spec = spec_of(suspend=True, **limited)
    world.pass_(seconds=60)
    torn_down(world)
    world.settle()
    world.pass_(seconds=1000)
    assert (world.status.phase, world.status.active_seconds) == ("Suspended", 60)
    world.spec = spec_of(**limited)
    world.settle()
    attempt_runs(world, 2)
    world.pass_(seconds=39)
    assert world.status.phase == "Running"
    world.pass_(seconds=1)
    assert (world.status.phase, world.reason("Failed"), world.ray_jobs) == ("Failed", "DeadlineExceeded", [])


def test_a_finished_job_never_begins_again() -> None:
    world = started()
    world.kuberay_says(failed())
    world.settle()
    world.kuberay_says()
    torn_down(world)
    world.spec = spec_of(suspend=True)
    world.settle()
    world.spec = spec_of()
    world.settle()
    assert (world.status.phase, len(world.created())) == ("Failed", 4)


@pytest.mark.parametrize(
    ("known", "before", "evictions", "told"),
    [
        (None, 0, 0, None),
        (None, 0, 2, 2),
        (2, 2, 0, 2),
        (2, 2, 3, 5),
        # A queue that is gone, or has made its Workload anew, takes nothing back.
        (5, 2, 0, 5),
    ],
)
def test_preemptions_add_up_over_attempts_and_are_charged_to_no_budget(
    known: int | None, before: int, evictions: int, told: int | None
) -> None:
    current = ray_job(2, suspended=True, preempted_before=before)
    restarts = Restarts(infrastructure=1, preemption=known)
    world = World(
        status=FineTuneJobStatus(phase="Running", ray_job_name="sections-2", restarts=restarts),
        ray_jobs=[current],
        evictions={current.child.uid: evictions},
    )
    world.pass_()
    assert (world.status.phase, world.status.restarts) == ("Queued", Restarts(infrastructure=1, preemption=told))


def test_a_ray_job_is_told_how_often_earlier_ones_were_preempted() -> None:
    world = World(status=FineTuneJobStatus(phase="Queued", restarts=Restarts(preemption=3)))
    world.settle()
    (made,) = [one for decision in world.sent for one in decision.create if one["kind"] == "RayJob"]
    assert made["metadata"]["annotations"]["thaw.dev/preempted-before"] == "3"
