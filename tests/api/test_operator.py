"""The operator's process against a real apiserver, with the chart's rights; KubeRay is played."""

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.api.operator_process import OperatorProcess, operator_process
from tests.api.scenes import NAME, RAY_KINDS, SECONDS, Scene, install_ray_kinds
from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until
from thaw_api.contract import trainer_account


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def result_of(job: dict[str, Any]) -> dict[str, Any]:
    result = {"uri": "pvc://models/out", "metrics": [{"name": "accuracy", "value": "0.91"}]}
    return {"status": {"training": {"jobUID": job["metadata"]["uid"], "result": result}}}


def test_a_job_goes_from_its_creation_to_complete(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.create()
    scene.reaches("Starting")
    ray_job = scene.kuberay.get("rayjob", "sections-1")
    assert ray_job["spec"]["submissionMode"] == "HTTPMode"
    assert "suspend" not in ray_job["spec"]
    scene.kuberay.starts("sections-1")
    job = scene.reaches("Running")
    scene.patch("ftj", NAME, result_of(job), "--subresource=status")
    scene.kuberay.says("sections-1", "Complete", "SUCCEEDED")
    scene.api.kubectl("wait", "--for=condition=Complete", f"ftj/{NAME}", "-n", scene.namespace, "--timeout=30s")
    done = scene.job()
    assert "finalizers" not in done["metadata"]
    assert "annotations" not in done["metadata"]
    assert operator.writes() == 8
    events = json.loads(scene.api.kubectl("get", "events", "-n", scene.namespace, "-o=json").stdout)["items"]
    assert sorted(event["reason"] for event in events) == ["Queued", "Running", "Starting", "Succeeded"]


def test_an_operator_that_is_killed_in_every_phase_creates_nothing_twice(
    scene: Scene, rights: Path, tmp_path: Path
) -> None:
    operators = ExitStack()
    operators.enter_context(operator_process(rights, tmp_path))

    def until(phase: str) -> dict[str, Any]:
        """Waits for a phase, kills the operator in it and starts another one."""
        job = scene.reaches(phase)
        operators.close()
        operators.enter_context(operator_process(rights, tmp_path))
        return job

    try:
        scene.create()
        until("Queued")
        scene.claim()
        until("Starting")
        first = scene.kuberay.get("rayjob", "sections-1")["metadata"]["uid"]
        scene.kuberay.starts("sections-1")
        until("Running")
        assert scene.kuberay.get("rayjob", "sections-1")["metadata"]["uid"] == first
        scene.kuberay.loses_head("sections-1", "2026-01-01T00:00:00Z")
        until("Restarting")
        scene.kuberay.removes_cluster("sections-1")
        scene.reaches("Starting")
        scene.patch("ftj", NAME, {"spec": {"suspend": True}})
        until("Suspended")
        scene.patch("ftj", NAME, {"spec": {"suspend": False}})
        scene.reaches("Starting")
        scene.kuberay.starts("sections-3")
        job = scene.reaches("Running")
        scene.patch("ftj", NAME, result_of(job), "--subresource=status")
        scene.kuberay.says("sections-3", "Complete", "SUCCEEDED")
        until("Succeeded")
    finally:
        operators.close()
    assert scene.names("rayjobs") == ["sections-3"]
    assert scene.names("configmaps") == ["sections-3"]
    assert scene.job()["status"]["restarts"] == {"infrastructure": 1}


def test_a_pass_over_an_unchanged_job_writes_nothing(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.create()
    scene.reaches("Starting")
    scene.kuberay.starts("sections-1")
    scene.reaches("Running")
    before = operator.requests()
    scene.patch("ftj", NAME, {"metadata": {"labels": {"team": "nlp"}}})
    wait_until(
        "the job is looked at again",
        lambda: None if operator.requests() != before else "no request",
        SECONDS,
    )
    after = operator.requests()
    assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key)} == {
        ("get", "FineTuneJob"): after["get", "FineTuneJob"] - before["get", "FineTuneJob"]
    }


def test_a_strangers_object_is_told_and_not_touched(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.apply({"apiVersion": "v1", "kind": "ConfigMap", "data": {"theirs": "1"}}, "sections-1")
    scene.create()
    job = scene.reaches("Queued", "NameTaken")
    assert "the name of the ConfigMap sections-1" in job["status"]["message"]
    assert scene.kuberay.get("configmap", "sections-1")["data"] == {"theirs": "1"}
    scene.api.kubectl("delete", "configmap", "sections-1", "-n", scene.namespace)
    scene.reaches("Starting")


def test_a_job_that_is_created_again_waits_for_the_old_ones_objects(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.create()
    scene.reaches("Starting")
    scene.kuberay.starts("sections-1")
    old = scene.reaches("Running")
    scene.api.kubectl("delete", "ftj", NAME, "-n", scene.namespace)
    scene.create()
    scene.reaches("Queued", "WaitingForTeardown")
    # The old driver still reports; without the admission policy, the operator alone must not believe it.
    scene.patch("ftj", NAME, result_of(old), "--subresource=status")
    scene.kuberay.says("sections-1", "Complete", "SUCCEEDED")
    scene.reaches("Queued", "WaitingForTeardown")
    # Here nobody collects garbage.
    scene.kuberay.removes_cluster("sections-1")
    for kind, name in (("rayjob", "sections-1"), ("configmap", "sections-1")):
        scene.api.kubectl("delete", kind, name, "-n", scene.namespace)
    account = trainer_account(NAME)
    scene.api.kubectl("delete", f"rolebinding/{account}", f"serviceaccount/{account}", "-n", scene.namespace)
    scene.reaches("Starting")
    owner = scene.kuberay.get("rayjob", "sections-1")["metadata"]["ownerReferences"][0]
    assert owner["uid"] == scene.job()["metadata"]["uid"] != old["metadata"]["uid"]


def test_kuberay_that_is_installed_later_is_noticed(
    api: Api, scene: Scene, rights: Path, tmp_path: Path, ray_kinds: Path
) -> None:
    api.kubectl("delete", "crd", *RAY_KINDS)
    with ExitStack() as running:
        try:
            running.enter_context(operator_process(rights, tmp_path))
            scene.claim()
            scene.create()
            job = scene.reaches("Queued", "KubeRayNotInstalled")
            assert "install KubeRay" in job["status"]["message"]
        finally:
            install_ray_kinds(api, ray_kinds)
        scene.reaches("Starting")
        scene.kuberay.starts("sections-1")
        scene.reaches("Running")
