"""An operator's Deployment on the cluster: killed, sent away and brought back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until

ROLLOUT_SECONDS = 90.0
PAUSE = 0.5
THAW, KUBERAY = "app.kubernetes.io/name=thaw", "app.kubernetes.io/component=kuberay-operator"
_METRICS_PORT = 9090


@dataclass(frozen=True)
class Deployment:
    """A Deployment of one replica, found by its labels: a cluster that is not ours may name it otherwise."""

    api: Api
    namespace: str
    name: str
    selector: str

    @classmethod
    def of(cls, api: Api, labels: str) -> Deployment:
        (found,) = json.loads(api.kubectl("get", "deployments", "-A", "-l", labels, "-o", "json").stdout)["items"]
        selector = ",".join(f"{name}={value}" for name, value in found["spec"]["selector"]["matchLabels"].items())
        return cls(api, found["metadata"]["namespace"], found["metadata"]["name"], selector)

    def kill(self) -> str:
        """Removes the pod at once, without a word to it; returns the name of the pod that takes its place."""
        (old,) = self._pods()
        self._kubectl("delete", "pod", old["metadata"]["name"], "--force", "--grace-period=0")
        self._scaled(1)
        (new,) = self._pods()
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        return str(new["metadata"]["name"])

    @contextmanager
    def away(self) -> Iterator[None]:
        """No pod of it runs within the block."""
        self._kubectl("scale", f"deployment/{self.name}", "--replicas=0")
        try:
            self._scaled(0)
            yield
        finally:
            self._kubectl("scale", f"deployment/{self.name}", "--replicas=1")
        self._scaled(1)

    def metrics(self, pod: str) -> str:
        """What a pod of thaw's operator measures; nothing while it starts."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{_METRICS_PORT}/proxy/metrics"
        return self.api.kubectl("get", "--raw", path, check=False).stdout

    def log(self, pod: str) -> list[str]:
        """The lines that a pod has printed so far."""
        return self._kubectl("logs", pod).splitlines()

    def _scaled(self, replicas: int) -> None:
        def missing() -> str | None:
            pods = self._pods()
            running = [one["status"].get("phase") == "Running" for one in pods]
            return None if running == [True] * replicas else f"{len(pods)} pods, running: {running}"

        wait_until(f"{self.name} has {replicas} pods", missing, ROLLOUT_SECONDS, PAUSE)

    def _pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._kubectl("get", "pods", "-l", self.selector, "-o", "json"))[
            "items"
        ]
        return found

    def _kubectl(self, *arguments: str) -> str:
        return self.api.kubectl(f"--namespace={self.namespace}", *arguments).stdout
