"""The operator's process against a real apiserver, with the chart's rights; KubeRay is played."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.api.operator_process import OperatorProcess, install_rights, operator_process
from tests.api.played_kuberay import PlayedKubeRay
from tests.cluster.binaries import Finder
from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until
from thaw_api.contract import trainer_account

SECONDS = 30.0
NAME = "sections"
RAY_KINDS = ("rayjobs.ray.io", "rayclusters.ray.io")


@dataclass(frozen=True)
class Scene:
    """One job in a namespace of its own, with an operator that serves all of them."""

    api: Api
    kuberay: PlayedKubeRay
    namespace: str

    def create(self, **changes: Any) -> None:
        """Creates the job."""
        spec: dict[str, Any] = {
            "task": "text-classification",
            "model": {"uri": "hf://org/model"},
            "data": {"train": {"uri": "pkg://package/train.csv"}, "columns": {"text": "text", "label": "label"}},
            "output": {"uri": "pvc://models/out"},
        }
        self.apply({"apiVersion": "thaw.dev/v1alpha1", "kind": "FineTuneJob", "spec": spec | changes}, NAME)

    def claim(self) -> None:
        """Creates the claim that the job names."""
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        self.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}, "models")

    def apply(self, manifest: dict[str, Any], name: str) -> None:
        manifest = manifest | {"metadata": {"name": name}}
        self.api.kubectl("create", "-n", self.namespace, "-f", "-", input=json.dumps(manifest))

    def patch(self, kind: str, name: str, patch: dict[str, Any], *flags: str) -> None:
        self.api.kubectl("patch", kind, name, "-n", self.namespace, "--type=merge", "-p", json.dumps(patch), *flags)

    def job(self) -> dict[str, Any]:
        return self.kuberay.get("ftj", NAME)

    def reaches(self, phase: str, reason: str | None = None) -> dict[str, Any]:
        """Waits for a phase, and the reason of ClusterReady; returns the job."""
        wanted = (phase, reason)

        def missing() -> str | None:
            status = self.job().get("status", {})
            reasons = {one["type"]: one["reason"] for one in status.get("conditions", [])}
            found = (status.get("phase"), reason and reasons.get("ClusterReady"))
            return None if found == wanted else json.dumps(status)

        wait_until(f"the job is {phase} ({reason})", missing, SECONDS)
        return self.job()

    def names(self, kind: str) -> list[str]:
        found = self.api.kubectl("get", kind, "-n", self.namespace, "-o", "name").stdout.split()
        return sorted(name.partition("/")[2] for name in found)


@pytest.fixture(scope="module")
def rights(api: Api, crd: str) -> Path:
    """A kubeconfig of the operator's account."""
    return install_rights(api, Finder(os.environ, print).find("helm"))


@pytest.fixture(scope="module")
def ray_kinds(api: Api) -> Path:
    """KubeRay's resources, installed; the fixture is what installs them."""
    folder = Finder(os.environ, print).module("kuberay-operator") / "config" / "crd"
    install_ray_kinds(api, folder)
    return folder


def install_ray_kinds(api: Api, folder: Path) -> None:
    api.kubectl("apply", "--server-side", "-k", str(folder))

    def missing() -> str | None:
        answers = [api.kubectl("get", kind, "-A", check=False) for kind in RAY_KINDS]
        return next((answer.stderr for answer in answers if answer.returncode), None)

    wait_until("KubeRay's resources are served", missing, SECONDS)


@pytest.fixture
def scene(api: Api, crd: str, ray_kinds: Path) -> Iterator[Scene]:
    namespace = f"operator-{uuid.uuid4().hex[:8]}"
    api.kubectl("create", "namespace", namespace)
    yield Scene(api, PlayedKubeRay(api, namespace), namespace)
    api.kubectl("delete", "ftj", "--all", "-n", namespace)


@pytest.fixture
def operator(rights: Path, tmp_path: Path) -> Iterator[OperatorProcess]:
    with operator_process(rights, tmp_path) as process:
        yield process


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


def test_what_a_queue_writes_into_the_ray_job_stays(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.create()
    scene.reaches("Starting")
    placed = {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    ray_job = scene.kuberay.get("rayjob", "sections-1")
    template = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    template["spec"] |= placed
    changed = {"spec": {"suspend": True, "rayClusterSpec": {"headGroupSpec": {"template": template}}}}
    scene.patch("rayjob", "sections-1", changed)
    scene.reaches("Queued", "WaitingForQuota")
    scene.patch("ftj", NAME, {"metadata": {"labels": {"team": "nlp"}}})
    scene.patch("rayjob", "sections-1", {"spec": {"suspend": False}})
    scene.reaches("Starting")
    kept = scene.kuberay.get("rayjob", "sections-1")["spec"]
    assert kept["suspend"] is False
    pod = kept["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {name: pod[name] for name in placed} == placed


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
