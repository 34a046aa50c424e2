"""KubeRay as the operator meets it, played by the test: statuses of RayJobs, RayClusters and their pods.

The api tier has no controllers. What the real KubeRay does is the cluster tier's matter; here it can be made to do
anything at any moment.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.cluster.kubectl import Api


@dataclass(frozen=True)
class PlayedKubeRay:
    """Writes what KubeRay would, into one namespace."""

    api: Api
    namespace: str

    def says(self, name: str, deployment: str, job: str = "", message: str = "") -> None:
        """The RayJob's status is now this."""
        status = {"jobDeploymentStatus": deployment, "jobStatus": job, "message": message}
        self._patch_status("rayjob", name, status)

    def starts(self, name: str) -> None:
        """Makes the cluster of a RayJob, all of it ready, and says that the driver runs."""
        ray_job = self.get("rayjob", name)
        labels = {key: value for key, value in ray_job["metadata"]["labels"].items() if key.startswith("thaw.dev/")}
        owner = {"apiVersion": "ray.io/v1", "kind": "RayJob", "name": name, "uid": ray_job["metadata"]["uid"]}
        metadata = {"name": f"{name}-abcde", "labels": labels, "ownerReferences": [owner | {"controller": True}]}
        spec = ray_job["spec"]["rayClusterSpec"]
        self._create({"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec})
        self._head_is(name, "True", "2026-01-01T00:00:00Z")
        container = {"name": "ray-head", "image": "none"}
        head = {"name": f"{name}-head", "labels": labels | {"ray.io/node-type": "head"}}
        self._create({"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {"containers": [container]}})
        self.says(name, "Running", "RUNNING")

    def loses_head(self, name: str, since: str) -> None:
        """The head's pod is gone, and is not made again."""
        self.api.kubectl("delete", "pod", f"{name}-head", "--force", "-n", self.namespace)
        self._head_is(name, "False", since)

    def removes_cluster(self, name: str) -> None:
        """The cluster of an attempt is gone."""
        for kind, each in (("raycluster", f"{name}-abcde"), ("pod", f"{name}-head")):
            self.api.kubectl("delete", kind, each, "--ignore-not-found", "--force", "-n", self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object of the namespace."""
        found: dict[str, Any] = json.loads(self.api.kubectl("get", kind, name, "-n", self.namespace, "-o=json").stdout)
        return found

    def _head_is(self, name: str, ready: str, since: str) -> None:
        shared = {"reason": "Played", "message": "", "lastTransitionTime": since}
        conditions = [
            {"type": "RayClusterProvisioned", "status": "True"} | shared,
            {"type": "HeadPodReady", "status": ready} | shared,
        ]
        self._patch_status("raycluster", f"{name}-abcde", {"conditions": conditions})

    def _create(self, manifest: dict[str, Any]) -> None:
        self.api.kubectl("create", "-n", self.namespace, "-f", "-", input=json.dumps(manifest))

    def _patch_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self.api.kubectl("patch", kind, name, "-n", self.namespace, "--subresource=status", "--type=merge", "-p", patch)
