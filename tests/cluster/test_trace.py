"""A cluster that is removed leaves the machine as it was; a second one, beside any that runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.binaries import Finder
from tests.cluster.one_node import binary_images
from tests.cluster.one_node.cluster import Cluster, TracesLeft, unsupported
from tests.cluster.one_node.layout import Layout
from tests.cluster.one_node.machine import Machine, processes_of
from tests.cluster.polling import wait_until

POD_SECONDS = 60.0


@pytest.fixture
def bare(tmp_path: Path, cannot_run: Callable[[str, str], NoReturn]) -> Iterator[Cluster]:
    """A cluster without KubeRay and thaw, in folders of its own, that is not started yet."""
    if (reason := unsupported()) is not None:
        cannot_run("cluster", reason)
    layout = Layout("thaw-trace", 1, tmp_path / "state", tmp_path / "cache")
    made = Cluster(layout, Finder(os.environ, say=lambda line: None), say=lambda line: None)
    yield made
    # A test that failed in its middle has told more than what it left.
    with suppress(TracesLeft):
        made.down()


def with_pod(cluster: Cluster) -> None:
    """Run a pod behind a service: rules, a link and mounts come with it."""
    image = binary_images.image_name(cluster.finder.find("pause"))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "labels": {"app": "pod"}},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    selects = {"ports": [{"port": 80}], "selector": {"app": "pod"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pod"}, "spec": selects}
    document = {"apiVersion": "v1", "kind": "List", "items": [claim, pod, service]}

    def missing() -> str | None:
        # A namespace's default account follows it by a moment.
        done = cluster.api.kubectl("apply", "-f", "-", input=json.dumps(document), check=False)
        return done.stderr if done.returncode else None

    wait_until("the pod is admitted", missing, POD_SECONDS)
    cluster.api.kubectl("wait", "--for=condition=Ready", f"--timeout={POD_SECONDS:g}s", "pod/pod")


def test_a_cluster_that_ran_a_pod_leaves_nothing_behind(bare: Cluster) -> None:
    before = Machine.now()
    bare.start()
    with_pod(bare)
    namespace = os.readlink(f"/proc/{bare.node.init.pid}/ns/mnt")
    commands = "\n".join(processes_of(bare.layout.state, bare.layout.cgroup, namespace))
    assert all(name in commands for name in ("etcd", "kube-apiserver", "kubelet", "containerd", "/pause"))
    assert before.changes(Machine.now()) != []
    bare.down()
    assert before.changes(Machine.now()) == []
    assert processes_of(bare.layout.state, bare.layout.cgroup, namespace) == []
    assert not bare.layout.state.exists()


def test_a_start_on_a_running_cluster_changes_no_process(bare: Cluster) -> None:
    bare.start()
    first = {file.name: file.read_text() for file in bare.layout.logs.glob("*.pid")}
    bare.start()
    assert {file.name: file.read_text() for file in bare.layout.logs.glob("*.pid")} == first
    bare.down()


def test_what_is_left_behind_is_named(bare: Cluster) -> None:
    bare.start()
    stray = Path("/sys/fs/cgroup") / ("unified" if Path("/sys/fs/cgroup/unified").exists() else "") / "thaw-stray"
    stray.mkdir()
    try:
        with pytest.raises(TracesLeft, match=r"cgroups: left behind: .*thaw-stray"):
            bare.down()
    finally:
        stray.rmdir()
