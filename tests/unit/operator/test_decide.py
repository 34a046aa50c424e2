"""The way of a job from its creation to its end, when nothing goes wrong, and when somebody must correct something."""

import json

import pytest

from tests.unit.operator.world import (
    BEGIN,
    NAME,
    UID,
    World,
    child,
    cluster,
    pod,
    ray_job,
    running,
    spec_of,
    started,
    succeeded,
    torn_down,
)
from thaw_api.status import Metric, ResultStatus, Summary, TrainingStatus
from thaw_operator.observed import Claim, Problem, Reference

RESULT = TrainingStatus(
    job_uid=UID,
    result=ResultStatus(uri="pvc://models/out", metrics=[Metric(name="accuracy", value="0.91")]),
    summary=Summary(trials="8/8", best="accuracy 0.91"),
)


def test_the_first_attempt_is_numbered_before_anything_of_it_exists() -> None:
    world = World()
    decision = world.pass_()
    assert decision.status is not None
    assert decision.status.ray_job_name == f"{NAME}-1"
    assert decision.status.phase == "Queued"
    assert world.created() == [
        f"ServiceAccount/thaw-trainer-{NAME}",
        f"RoleBinding/thaw-trainer-{NAME}",
        f"ConfigMap/{NAME}-1",
        f"RayJob/{NAME}-1",
    ]


def test_a_job_goes_through_its_phases_and_ends_complete() -> None:
    world = World()
    phases = []
    for state in (ray_job(), ray_job(deployment="Initializing"), ray_job(deployment="Running"), running(), succeeded()):
        world.settle()
        phases.append(world.status.phase)
        world.kuberay_says(state)
    world.training = RESULT
    world.settle()
    assert [*phases, world.status.phase] == ["Starting", "Starting", "Starting", "Starting", "Running", "Succeeded"]
    assert (world.condition("Complete"), world.condition("Failed"), world.condition("Running")) == (
        "True",
        None,
        "False",
    )
    assert world.status.completion_time is not None
    assert world.status.message == "accuracy 0.91; the result is in pvc://models/out"


def test_a_whole_job_takes_few_writes_and_tells_each_transition_once() -> None:
    world = started()
    world.kuberay_says(succeeded())
    world.training = RESULT
    world.settle()
    torn_down(world)
    world.settle()
    writes = sum(len(one.create) + len(one.delete) + (one.status is not None) for one in world.sent)
    assert writes == 8
    assert [notice.reason for one in world.sent for notice in one.notices] == [
        *("Queued", "Starting", "Running", "Succeeded"),
    ]


@pytest.mark.parametrize("deployment", ["", "Initializing", "Running", "Complete"])
def test_a_second_pass_over_the_same_state_writes_nothing(deployment: str) -> None:
    world = World()
    world.settle()
    world.kuberay_says(ray_job(deployment=deployment, job="SUCCEEDED" if deployment == "Complete" else ""))
    world.settle()
    again = world.decision()
    assert (again.status, again.create, again.delete, again.notices) == (None, (), (), ())


def test_conditions_keep_the_time_of_their_last_change() -> None:
    world = started()
    world.kuberay_says(succeeded())
    world.pass_(seconds=100)
    times = {one.type: one.last_transition_time for one in world.status.conditions or ()}
    assert times["Accepted"] == times["Suspended"] == "2026-01-01T12:00:00Z"
    assert times["Running"] == times["Complete"] == "2026-01-01T12:01:40Z"


def test_a_success_without_a_result_says_so() -> None:
    world = started()
    world.kuberay_says(succeeded())
    world.settle()
    assert world.reason("Complete") == "SucceededWithoutResult"
    assert "pvc://models/out" in (world.status.message or "")


def test_a_job_that_is_being_deleted_is_left_alone() -> None:
    world = started()
    world.deleting = True
    world.kuberay_says()
    assert world.decision() == type(world.decision())()


def test_a_job_that_cannot_be_run_fails_at_once() -> None:
    world = World(spec=None)
    world.settle()
    assert (world.status.phase, world.condition("Accepted"), world.reason("Failed")) == (
        "Failed",
        "False",
        "InvalidSpec",
    )
    assert world.created() == []


def test_a_deleted_account_is_made_again() -> None:
    world = started()
    del world.children[Reference("ServiceAccount", f"thaw-trainer-{NAME}")]
    world.settle()
    assert world.created()[4:] == [f"ServiceAccount/thaw-trainer-{NAME}"]


def test_what_a_queue_writes_into_the_ray_job_is_no_reason_to_write() -> None:
    world = World(labels={"kueue.x-k8s.io/queue-name": "research"})
    world.pass_()
    world.kuberay_says(ray_job(suspended=True))
    world.settle()
    assert (world.status.phase, world.reason("ClusterReady"), world.status.queue) == (
        *("Queued", "WaitingForQuota", "research"),
    )
    assert world.status.start_time is None
    world.kuberay_says(ray_job(deployment="Initializing"))
    world.settle()
    assert world.status.start_time == "2026-01-01T12:00:00Z"


OBSTACLES = [
    ("no KubeRay", {"kuberay": False}, "KubeRayNotInstalled", "install KubeRay"),
    ("a claim is missing", {"claims": {}}, "ClaimNotFound", "spec.data.train.uri: the PersistentVolumeClaim corpus"),
    (
        "a claim for one pod",
        {"claims": {name: Claim(name, ("ReadWriteOncePod",), False) for name in ("corpus", "models")}},
        "ClaimNotShareable",
        "ReadWriteOncePod",
    ),
    (
        "a stranger's RayJob",
        {"children": {Reference("RayJob", f"{NAME}-1"): child("RayJob", f"{NAME}-1", owner=None)}},
        "NameTaken",
        f"the name of the RayJob {NAME}-1, which is not its own (nobody controls it)",
    ),
]


@pytest.mark.parametrize(
    ("changes", "reason", "message"), [row[1:] for row in OBSTACLES], ids=[r[0] for r in OBSTACLES]
)
def test_an_obstacle_is_told_and_once_it_is_gone_the_job_goes_on(changes: dict, reason: str, message: str) -> None:  # type: ignore[type-arg]
    world = World(**changes)
    last = world.settle()
    assert (world.status.phase, world.reason("ClusterReady"), world.created()) == ("Queued", reason, [])
    assert message in (world.status.message or "")
    assert [notice.reason for one in world.sent for notice in one.notices] == [reason]
    assert last.look_again is not None
    free = World()
    world.kuberay, world.claims, world.children = free.kuberay, free.claims, free.children
    world.settle()
    assert (world.status.phase, len(world.created())) == ("Starting", 4)


def test_a_new_job_waits_until_its_namesakes_objects_are_gone() -> None:
    name = f"thaw-trainer-{NAME}"
    old = child("ServiceAccount", name, owner="uid of the older job")
    world = World(children={old.reference: old})
    world.settle()
    assert (world.reason("ClusterReady"), world.created()) == ("WaitingForTeardown", [])
    world.children = {}
    world.settle()
    assert len(world.created()) == 4


TROUBLES = [
    ("ImagePullFailed", "the pod p cannot pull the image i"),
    ("PodConfigurationFailed", "the pod p cannot start: secret not found"),
]


@pytest.mark.parametrize(("reason", "message"), TROUBLES)
def test_what_keeps_a_pod_from_starting_is_told(reason: str, message: str) -> None:
    world = World()
    world.settle()
    world.kuberay_says(ray_job(deployment="Initializing"))
    world.pods = [pod(head=False), pod(problem=Problem(reason, message))]
    world.settle()
    assert (world.status.phase, world.reason("ClusterReady"), world.status.message) == ("Starting", reason, message)
    world.pods = [pod()]
    world.kuberay_says(running())
    world.ray_clusters = [cluster()]
    world.settle()
    assert (world.status.phase, world.condition("ClusterReady")) == ("Running", "True")


def test_a_pod_that_no_node_takes_is_told_after_a_moment() -> None:
    world = World()
    world.settle()
    world.kuberay_says(ray_job(deployment="Initializing"))
    world.pods = [pod(problem=Problem("Unschedulable", "no node takes it", BEGIN))]
    last = world.settle()
    assert world.reason("ClusterReady") == "Starting"
    assert last.look_again is not None
    assert (last.look_again - BEGIN).total_seconds() == 15
    world.pass_(seconds=15)
    assert (world.reason("ClusterReady"), world.decision().look_again) == ("Unschedulable", None)


def test_the_generation_is_noted_after_the_end_too() -> None:
    world = started()
    world.kuberay_says(succeeded())
    world.settle()
    before = world.status
    world.generation = 2
    world.settle()
    assert world.status.observed_generation == 2
    assert {one.observed_generation for one in world.status.conditions or ()} == {2}
    assert world.status.phase == before.phase == "Succeeded"


def test_the_configuration_holds_the_job_as_the_driver_reads_it() -> None:
    world = World(spec=spec_of(training={"epochs": 7}))
    decision = world.pass_()
    (configuration,) = [one for one in decision.create if one["kind"] == "ConfigMap"]
    document = json.loads(configuration["data"]["job.json"])
    assert document["metadata"] == {"name": NAME, "namespace": "research", "uid": UID}
    assert document["spec"]["training"]["epochs"] == 7
    assert configuration["immutable"] is True
