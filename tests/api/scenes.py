"""One job on a real apiserver, with KubeRay played: what tests of the operator do with it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.api.played_kuberay import PlayedKubeRay
from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until

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


def install_ray_kinds(api: Api, folder: Path) -> None:
    api.kubectl("apply", "--server-side", "-k", str(folder))

    def missing() -> str | None:
        answers = [api.kubectl("get", kind, "-A", check=False) for kind in RAY_KINDS]
        return next((answer.stderr for answer in answers if answer.returncode), None)

    wait_until("KubeRay's resources are served", missing, SECONDS)
