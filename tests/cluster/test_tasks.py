"""A job of each kind of task on the real cluster: what is seen, what is heard, and what acts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import TestCluster
from tests.cluster.jobs import CLAIM, NAME, ClusterJob
from tests.cluster.namespaces import Namespace
from tests.run.task_jobs import agents, images, speech
from tests.run.workspace import Workspace

SECONDS = 420.0


@pytest.mark.parametrize("make", [images, speech, agents], ids=lambda make: make.__name__)
def test_a_job_of_another_task_ends_complete(
    cluster: TestCluster, namespace: Namespace, tmp_path: Path, make: Callable[[Path], dict[str, Any]]
) -> None:
    own = make(tmp_path)
    job = ClusterJob(namespace, Workspace(tmp_path))
    job.prepare()
    job.hold(cluster.trainer_image)
    data = {"train": {"uri": f"pvc://{CLAIM}/data"}} | own.pop("data", {})
    training = {"epochs": 1, "batchSize": 8, "optimizer": {"lr": 0.001}} | own.pop("training", {})
    job.create(
        model={"uri": f"pvc://{CLAIM}/model"} | own.pop("model", {}),
        data=data | {"split": {"validation": 0.2, "test": 0.2} | data.get("split", {})},
        training=training,
        **own,
    )
    job.namespace.kubectl("wait", "--for=condition=Complete", f"ftj/{NAME}", f"--timeout={SECONDS:g}s")
    result = json.loads(job.read("out/result.json"))
    told = job.status()["training"]["result"]["metrics"]
    assert {metric["name"]: float(metric["value"]) for metric in told} == result["test"]
    assert {"config.json", "model.safetensors"} <= set(job.names("out/model"))
