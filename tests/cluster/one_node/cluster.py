"""The order in which a cluster is made, and how it is removed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.binaries import Finder
from tests.cluster.kubectl import Api
from tests.cluster.one_node import (
    binary_images,
    chart,
    control_plane,
    credentials,
    dns,
    kuberay,
    network,
    packages,
    runtime,
    storage,
    thaw_images,
)
from tests.cluster.one_node.cgroups import remove_cgroup
from tests.cluster.one_node.credentials import Credentials
from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.kubelet import start_kubelet
from tests.cluster.one_node.layout import NODE_NAME, Layout
from tests.cluster.one_node.machine import Machine, processes_of
from tests.cluster.one_node.node import Node
from tests.cluster.polling import wait_until

START_SECONDS = 90.0
ROLLOUT = "120s"
# Server-side apply: KubeRay's CRDs are too large for the annotation of the other way.
APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=cluster-up")

Say = Callable[[str], None]


class TracesLeft(Exception):
    """The machine is not as it was; the message has a line for each difference."""


@dataclass(frozen=True)
class Cluster:
    """One cluster of this machine; `up` and `down` do what is still to be done, however often they are called."""

    layout: Layout
    finder: Finder
    say: Say

    @property
    def node(self) -> Node:
        return Node(self.layout)

    @property
    def api(self) -> Api:
        return Api(self.layout.kubeconfig, self.finder.find("kubectl"), self.layout.state)

    def running(self) -> bool:
        return self.node.init.pid is not None

    def up(self) -> None:
        """A cluster with KubeRay, thaw's images and, if the checkout has it, thaw's chart."""
        with self._alone():
            self.start()
            self._install_kuberay()
            images = thaw_images.imported(self.node, self.api, self.say)
            self._install_chart(images)

    def start(self) -> None:
        """A bare cluster: a node that is ready, DNS, volumes."""
        packages.install_missing(self.say)
        self.layout.state.mkdir(parents=True, exist_ok=True)
        if not self.layout.before.exists():
            # What a cluster has left that a reboot ended, or the removal of its folder, is no part of the machine.
            remove_cgroup(self.layout.cgroup)
            Machine.now().write(self.layout.before)
        self.node.start()
        made = credentials.made(self.layout)
        self._start_control_plane(made)
        self._start_node(made)
        storage.make_folders(self.layout)
        self._apply(storage.manifests(self.layout))
        storage.refill(self.api)
        self._apply(dns.manifests(self._binary_image("coredns")))
        self._rolled_out(dns.NAMESPACE, dns.NAME)

    def down(self) -> None:
        """End it and remove its files. Raises TracesLeft when the machine is not as it was before `start`."""
        with self._alone():
            namespace = self._mount_namespace()
            self.node.kill()
            remove_cgroup(self.layout.cgroup)
            before = Machine.read(self.layout.before) if self.layout.before.exists() else None
            if before is not None:
                before.restore_settings()
            if self.layout.state.exists():
                shutil.rmtree(self.layout.state)
            left = processes_of(self.layout.state, self.layout.cgroup, namespace)
            if before is not None:
                left += before.changes(Machine.now())
        if left:
            raise TracesLeft("\n".join(left))

    def _start_control_plane(self, made: Credentials) -> None:
        find = self.finder.find
        self.say("starting the control plane")
        etcd = control_plane.start_etcd(self.node, find("etcd"))
        apiserver = control_plane.start_apiserver(self.node, find("kube-apiserver"), made)
        # The server turns ready before it has made the namespaces and rights that it starts with.
        for path in ("/readyz", "/api/v1/namespaces/kube-system"):
            self._served(path, [etcd, apiserver])
        control_plane.start_controllers(self.node, find("kube-controller-manager"), made).require()
        control_plane.start_scheduler(self.node, find("kube-scheduler"), made).require()

    def _start_node(self, made: Credentials) -> None:
        self.say("starting the node")
        pause = binary_images.image_name(self.finder.find("pause"))
        runtime.start_containerd(self.node, pause, network.configured(self.node))
        self._binary_image("pause")
        proxy = network.start_proxy(self.node, self.finder.find("kube-proxy"), made)
        kubelet = start_kubelet(self.node, self.finder.find("kubelet"), made)
        self._until("the node is ready", [kubelet, proxy], self._node_missing)

    def _install_kuberay(self) -> None:
        self.say("installing KubeRay")
        image = self._binary_image("kuberay-operator")
        module = self.finder.module("kuberay-operator")
        self.api.kubectl(*APPLY, "-k", str(kuberay.crds(module)))
        self._apply(kuberay.manifests(self.api, module, image))
        self._rolled_out(kuberay.NAMESPACE, kuberay.NAME)

    def _install_chart(self, images: thaw_images.ThawImages) -> None:
        if not (chart.FOLDER / "Chart.yaml").exists():
            self.say(f"thaw is not installed: there is no {chart.FOLDER}/Chart.yaml")
            return
        self.say("installing thaw's chart")
        chart.forget_unfinished(self.api)
        chart.install(self.finder.find("helm"), self.layout, chart.settings(images.operator, images.trainer))

    def _binary_image(self, program: str) -> str:
        return binary_images.imported(self.node, self.finder.find(program))

    def _apply(self, manifests: list[dict[str, Any]]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.api.kubectl(*APPLY, "-f", "-", input=json.dumps(document))

    def _rolled_out(self, namespace: str, deployment: str) -> None:
        self.api.kubectl(
            "rollout", "status", f"--namespace={namespace}", f"--timeout={ROLLOUT}", f"deployment/{deployment}"
        )

    def _served(self, path: str, daemons: list[Daemon]) -> None:
        def missing() -> str | None:
            answer = self.api.kubectl("get", "--raw", path, check=False)
            return answer.stderr if answer.returncode else None

        self._until(f"{path} is served", daemons, missing)

    def _node_missing(self) -> str | None:
        condition = '{.status.conditions[?(@.type=="Ready")]}'
        answer = self.api.kubectl("get", "node", NODE_NAME, "-o", f"jsonpath={condition}", check=False)
        return None if '"status":"True"' in answer.stdout else answer.stdout + answer.stderr

    def _until(self, what: str, daemons: list[Daemon], observe: Callable[[], str | None]) -> None:
        def missing() -> str | None:
            for daemon in daemons:
                daemon.require()
            return observe()

        wait_until(what, missing, START_SECONDS)

    def _mount_namespace(self) -> str | None:
        pid = self.node.init.pid
        return None if pid is None else os.readlink(f"/proc/{pid}/ns/mnt")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One command at a time; the lock is outside of what a command removes."""
        lock = self.layout.cache / f"{self.layout.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield


def cluster_of(environ: dict[str, str], say: Say) -> Cluster:
    return Cluster(Layout.of(environ), Finder(environ, say), say)


def unsupported() -> str | None:
    """Why no cluster can be made here; None when nothing is against it."""
    if not Path("/proc/self/ns/mnt").exists():
        return "its node needs Linux's namespaces, and this is another system"
    if os.geteuid() != 0:
        return "its node needs root; or name a cluster in THAW_TEST_KUBECONFIG"
    return None
