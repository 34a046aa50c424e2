"""Kueue as the operator meets it, played by the test: its Workloads, cut down to what is read of them."""

import json
from dataclasses import dataclass
from typing import Any

from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until

SECONDS = 30.0
_ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    # The group is protected: who defines a resource in it must say that this was approved.
    "metadata": {
        "name": "workloads.kueue.x-k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/kueue"},
    },
    "spec": {
        "group": "kueue.x-k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "Workload", "plural": "workloads", "singular": "workload"},
        "versions": [
            {
                "name": "v1beta2",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _ANY, "status": _ANY}}},
                "subresources": {"status": {}},
            }
        ],
    },
}


@dataclass(frozen=True)
class PlayedKueue:
    """Admits RayJobs of one namespace, and takes their quota away again."""

    api: Api
    namespace: str

    def is_installed(self) -> None:
        """Its resource is served."""
        self.api.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(CRD))

        def missing() -> str | None:
            answer = self.api.kubectl("get", "workloads.kueue.x-k8s.io", "-A", check=False)
            return answer.stderr if answer.returncode else None

        wait_until("Kueue's resource is served", missing, SECONDS)

    def is_removed(self) -> None:
        """Its resource is gone, and all Workloads with it."""
        self.api.kubectl("delete", "crd", CRD["metadata"]["name"], "--ignore-not-found")

    def admits(self, ray_job: dict[str, Any]) -> None:
        """Makes the Workload of a RayJob."""
        metadata = {
            "name": f"rayjob-{ray_job['metadata']['name']}",
            "labels": {"kueue.x-k8s.io/job-uid": ray_job["metadata"]["uid"]},
        }
        workload = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": metadata, "spec": {}}
        self.api.kubectl("create", "-n", self.namespace, "-f", "-", input=json.dumps(workload))

    def has_evicted(self, ray_job: str, **counts: int) -> None:
        """How often so far, by reason."""
        evictions = [{"reason": reason, "underlyingCause": "", "count": count} for reason, count in counts.items()]
        patch = json.dumps({"status": {"schedulingStats": {"evictions": evictions}}})
        place = ("workload", f"rayjob-{ray_job}", "-n", self.namespace, "--subresource=status")
        self.api.kubectl("patch", *place, "--type=merge", "-p", patch)
