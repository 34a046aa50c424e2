"""What is read from Kubernetes' objects."""

from typing import Any

import pytest

from tests.unit.operator.world import SPEC
from thaw_operator.observed import Problem
from thaw_operator.views import child_view, evictions_view, job_view, pod_view, ray_cluster_view, ray_job_view

LABELS = {"thaw.dev/job": "sections", "thaw.dev/job-uid": "u", "thaw.dev/attempt": "3", "ray.io/node-type": "head"}


def body(**parts: Any) -> dict[str, Any]:
    metadata = {"name": "sections-3", "namespace": "research", "uid": "1", "labels": LABELS}
    return {"metadata": metadata | parts.pop("metadata", {}), **parts}


def job_body(**parts: Any) -> dict[str, Any]:
    more = {"name": "sections", "generation": 2, "resourceVersion": "7"}
    return body(apiVersion="thaw.dev/v1alpha1", kind="FineTuneJob", metadata=more, spec=SPEC) | parts


def test_a_job_is_read_with_its_spec() -> None:
    job = job_view(job_body())
    assert (job.spec is not None, job.errors, job.generation) == (True, (), 2)


def test_a_spec_that_uses_what_is_not_there_yet_is_told_with_its_field() -> None:
    job = job_view(job_body(spec=SPEC | {"cluster": {"workers": {"min": 1, "max": 2}}}))
    assert job.spec is None
    assert [error.path for error in job.errors] == ["spec.cluster.workers.min"]


@pytest.mark.parametrize(("uid", "kept"), [("1", True), ("of an older job", False)])
def test_only_reports_about_this_very_job_are_believed(uid: str, kept: bool) -> None:
    job = job_view(job_body(status={"phase": "Running", "training": {"jobUID": uid}}))
    assert (job.status.training is not None) == kept
    assert job.status.phase == "Running"


def test_the_controller_is_the_owner() -> None:
    owners = [{"uid": "a", "kind": "Other"}, {"uid": "b", "kind": "FineTuneJob", "controller": True}]
    child = child_view(body(metadata={"ownerReferences": owners}), "ConfigMap")
    assert (child.owner_uid, child.owner_kind) == ("b", "FineTuneJob")
    assert child_view(body(), "ConfigMap").owner_uid is None


def test_a_ray_job_without_a_status_is_new() -> None:
    found = ray_job_view(body())
    assert (found.attempt, found.suspended, found.job_status, found.deployment_status) == (3, False, "", "")
    assert not found.terminal


def test_only_preemptions_are_counted_of_a_queues_evictions() -> None:
    counted = [
        {"reason": "Preempted", "underlyingCause": "", "count": 2},
        {"reason": "Preempted", "underlyingCause": "InCohortReclamation", "count": 1},
        {"reason": "PodsReadyTimeout", "underlyingCause": "WaitForStart", "count": 4},
    ]
    assert evictions_view({"status": {"schedulingStats": {"evictions": counted}}}) == 3
    assert evictions_view({}) == 0


@pytest.mark.parametrize(("annotation", "number"), [("3", 3), ("", 0), ("many", 0)])
def test_a_ray_job_knows_how_often_earlier_ones_were_preempted(annotation: str, number: int) -> None:
    found = ray_job_view(body(metadata={"annotations": {"thaw.dev/preempted-before": annotation}}))
    assert found.preempted_before == number


def test_a_message_is_read_without_control_characters() -> None:
    found = ray_job_view(body(status={"message": "\x1b[31mred\x1b[0m\x00 line\nnext"}))
    assert found.message == "red line\nnext"


def test_a_cluster_tells_when_its_head_was_lost() -> None:
    conditions = [
        {"type": "RayClusterProvisioned", "status": "True"},
        {"type": "HeadPodReady", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]
    found = ray_cluster_view(body(status={"conditions": conditions}))
    assert (found.provisioned, found.head_ready, found.job_uid) == (True, False, "u")
    assert found.head_ready_since is not None
    assert found.head_ready_since.isoformat() == "2026-01-01T00:00:00+00:00"


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "ray-head", "image": "registry/none:1", "state": state}]}


def ended(code: int, reason: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"phase": "Failed", "containerStatuses": [{"name": "ray-head", "state": state}]}


PROBLEMS: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, ""),
    (waiting("ContainerCreating"), None, ""),
    (waiting("ErrImagePull", "failed to pull"), "ImagePullFailed", "cannot pull the image registry/none:1"),
    (waiting("ImagePullBackOff", "Back-off"), "ImagePullFailed", "cannot pull the image registry/none:1"),
    (
        waiting("CreateContainerConfigError", 'secret "s" not found'),
        "PodConfigurationFailed",
        'cannot start: secret "s" not found',
    ),
    (ended(137, "OOMKilled"), "OOMKilled", "the container ray-head of sections-3 ended with exit code 137 (OOMKilled)"),
    (ended(0, "Completed"), None, ""),
    ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted", "failed: Evicted: low on memory"),
]


@pytest.mark.parametrize(("status", "reason", "message"), PROBLEMS)
def test_a_pods_problem_is_read_from_its_status(status: dict[str, Any], reason: str | None, message: str) -> None:
    problem = pod_view(body(status=status)).problem
    assert (problem.reason if problem else None) == reason
    assert message in (problem.message if problem else "")


def test_a_pull_that_is_tried_again_is_the_same_problem() -> None:
    texts = {pod_view(body(status=waiting(reason))).problem for reason in ("ErrImagePull", "ImagePullBackOff")}
    assert len(texts) == 1


def test_a_pod_that_no_node_takes_tells_since_when() -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    problem = pod_view(body(status={"conditions": [condition]})).problem
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.since is not None) == ("Unschedulable", True)
    assert "Insufficient cpu" in problem.message


@pytest.mark.parametrize(
    ("parts", "live"),
    [
        ({"status": {"phase": "Running"}}, True),
        ({"status": {"phase": "Failed"}}, False),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
    ],
)
def test_a_pod_that_has_ended_or_is_ending_is_not_live(parts: dict[str, Any], live: bool) -> None:
    assert pod_view(body(**parts)).live == live
