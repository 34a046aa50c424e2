"""A whole job on the real cluster, from `kubectl create` to the model on its claim."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.cluster.audit import counted
from tests.cluster.conftest import TestCluster
from tests.cluster.jobs import NAME, ClusterJob
from tests.run.workspace import Workspace

START_SECONDS, RUN_SECONDS = 180.0, 240.0
SEARCH = {
    "trials": 3,
    "algorithm": {"name": "random"},
    "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-4, "max": 1e-2}}],
}


def assert_same_on_one_machine(workspace: Workspace, result: dict[str, Any], output: Path) -> None:
    """`thaw run` with the same seeds, and as many slots, has the same numbers."""
    workspace.write(search=SEARCH | {"parallel": 2})
    done = workspace.thaw("run", "--output", str(output))
    assert done.returncode == 0, done.stderr
    here = workspace.result(output)
    assert here["test"] == result["test"]
    measured = [[(trial["name"], trial["metrics"]) for trial in one["trials"]] for one in (here, result)]
    assert measured[0] == measured[1]


def assert_few_writes(writes: Counter[tuple[str, str, str]]) -> None:
    """Operator: 4 children, and the status at each transition. The driver: nothing but reports of its progress."""
    operator = {key[1:]: count for key, count in writes.items() if key[0] == "thaw-operator" and key[2] != "events"}
    transitions = operator.pop(("patch", "finetunejobs/status"))
    assert operator == {
        ("create", "serviceaccounts"): 1,
        ("create", "rolebindings"): 1,
        ("create", "configmaps"): 1,
        ("create", "rayjobs"): 1,
    }
    # Queued, Starting, its cluster ready (which KubeRay may pass over), Running, Succeeded.
    assert transitions in (4, 5)
    driver = {key[1:] for key in writes if key[0] == f"thaw-trainer-{NAME}"}
    assert driver == {("patch", "finetunejobs/status")}


def test_a_job_ends_complete_with_its_model_on_the_claim(cluster: TestCluster, job: ClusterJob, tmp_path: Path) -> None:
    job.create(search=SEARCH)
    job.reaches("Running", START_SECONDS)
    job.namespace.kubectl("wait", "--for=condition=Complete", f"ftj/{NAME}", f"--timeout={RUN_SECONDS:g}s")
    status = job.status()
    result = json.loads(job.read("out/result.json"))
    test = {metric["name"]: float(metric["value"]) for metric in status["training"]["result"]["metrics"]}
    assert test == result["test"]
    assert status["training"]["progressPercentage"] == 100
    assert status["training"]["summary"]["trials"] == "3/3"
    assert "restarts" not in status
    assert {"config.json", "model.safetensors"} <= set(job.names("out/model"))
    assert_same_on_one_machine(job.workspace, result, tmp_path / "here")
    if cluster.audit_log is not None:
        assert_few_writes(counted(cluster.audit_log, job.namespace.name))
    metadata = job.namespace.get("ftj", NAME)["metadata"]
    assert {"finalizers", "annotations"}.isdisjoint(metadata)
    events = json.loads(job.namespace.kubectl("get", "events", "-o", "json"))["items"]
    ours = [event["reason"] for event in events if event["involvedObject"]["kind"] == "FineTuneJob"]
    assert sorted(ours) == ["Queued", "Running", "Starting", "Succeeded"]
