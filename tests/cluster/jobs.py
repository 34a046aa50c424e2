"""A FineTuneJob on the cluster: a tiny model and a table on a claim, and what the tests ask about the job."""

from __future__ import annotations

import json
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

from tests.cluster.namespaces import Namespace
from tests.cluster.polling import NeverHappened, wait_until
from tests.cluster.ray_jobs import pod
from tests.run.workspace import Workspace
from thaw_api.contract import JOB_LABEL

CLAIM, HOLDER, NAME = "work", "holder", "tiny"
POD_SECONDS = 60.0
PAUSE = 0.5
KINDS = "rayjobs,rayclusters,pods,configmaps,serviceaccounts,rolebindings"


def workers(replicas: int) -> dict[str, Any]:
    """One or two workers, with as much of two cores as leaves room for the head and the operators: imports take most of
    a test's time."""
    return {"replicas": replicas, "resources": {"cpu": {1: "1", 2: "800m"}[replicas], "memory": "2Gi"}}


@dataclass(frozen=True)
class ClusterJob:
    """The job `tiny` of a workspace, in a namespace that holds nothing else."""

    namespace: Namespace
    workspace: Workspace

    def prepare(self, claim: str = CLAIM, access: str = "ReadWriteMany") -> None:
        """Makes a claim."""
        manifest = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim},
            "spec": {"accessModes": [access], "resources": {"requests": {"storage": "1Gi"}}},
        }
        self.namespace.apply(manifest)

    def hold(self, image: str) -> None:
        """Starts a pod that has the claim, and fills the claim from the workspace."""
        volumes = [{"name": "claim", "persistentVolumeClaim": {"claimName": CLAIM}}]
        mounts = {"volumeMounts": [{"name": "claim", "mountPath": "/claim"}]}
        command = ["python", "-c", "import signal; signal.pause()"]
        self.namespace.apply(pod(HOLDER, image, command, volumes=volumes, container=mounts))
        self.namespace.wait_for("pod", HOLDER, ("status", "phase"), {"Running"}, POD_SECONDS)
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for entry in sorted(self.workspace.folder.iterdir()):
                archive.add(entry, entry.name)
        self._exec("tar", "-x", "-C", "/claim", "--no-same-owner", stdin=packed.getvalue())

    def read(self, path: str) -> str:
        """A file of the claim."""
        return self._exec("cat", f"/claim/{path}").decode()

    def names(self, folder: str) -> list[str]:
        """Names in a folder of the claim."""
        return self._exec("ls", f"/claim/{folder}").decode().split()

    def manifest(self, **spec: Any) -> dict[str, Any]:
        """The job, with URIs of the claim; `spec` replaces blocks of a plain one."""
        plain: dict[str, Any] = {
            "task": "text-classification",
            "model": {"uri": f"pvc://{CLAIM}/model"},
            "data": {
                "train": {"uri": f"pvc://{CLAIM}/data.csv"},
                "split": {"validation": 0.2, "test": 0.2, "stratifyBy": "label"},
            },
            "training": {"epochs": 2, "batchSize": 16, "optimizer": {"lr": 1e-3}},
            "output": {"uri": f"pvc://{CLAIM}/out"},
            "cluster": {"workers": workers(2)},
        }
        return {
            "apiVersion": "thaw.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": NAME},
            "spec": plain | spec,
        }

    def create(self, **spec: Any) -> None:
        self.namespace.kubectl("create", "-f", "-", stdin=json.dumps(self.manifest(**spec)))

    def patch(self, **spec: Any) -> None:
        self.namespace.kubectl("patch", "ftj", NAME, "--type=merge", "-p", json.dumps({"spec": spec}))

    def status(self) -> dict[str, Any]:
        return cast(dict[str, Any], self.namespace.get("ftj", NAME).get("status", {}))

    def reasons(self) -> dict[str, str]:
        """Reason of each condition."""
        return {one["type"]: one["reason"] for one in self.status().get("conditions", [])}

    def reaches(self, phase: str, seconds: float) -> dict[str, Any]:
        """Waits for a phase; a job that has ended otherwise ends the wait. Returns the status."""

        def missing() -> str | None:
            status = self.status()
            found = status.get("phase")
            if found in ("Succeeded", "Failed") and found != phase:
                raise NeverHappened(f"the job is {phase}: it is {found}\n{json.dumps(status, indent=2)}")
            return None if found == phase else f"{found}: {status.get('message')}"

        wait_until(f"the job is {phase}", missing, seconds, PAUSE)
        return self.status()

    def explains(self, reason: str, seconds: float) -> str:
        """Waits until ClusterReady has a reason; returns the message that people read."""

        def missing() -> str | None:
            return None if self.reasons().get("ClusterReady") == reason else json.dumps(self.status())

        wait_until(f"ClusterReady says {reason}", missing, seconds, PAUSE)
        return str(self.status()["message"])

    def children(self) -> list[str]:
        """Names of all that belongs to the job in the cluster."""
        listed = self.namespace.kubectl("get", KINDS, "-l", f"{JOB_LABEL}={NAME}", "-o", "name")
        return listed.split()

    def head(self) -> str:
        """The name of the head's pod."""
        selector = f"{JOB_LABEL}={NAME},ray.io/node-type=head"
        (name,) = self.namespace.kubectl("get", "pods", "-l", selector, "-o", "name").split()
        return name

    def journal(self) -> list[dict[str, Any]]:
        """The journal's whole lines so far."""
        return [json.loads(line) for line in self.read("out/journal.jsonl").split("\n")[:-1]]

    def _exec(self, *command: str, stdin: bytes | None = None) -> bytes:
        api = self.namespace.api
        arguments = [str(api.program), f"--kubeconfig={api.kubeconfig}", f"--namespace={self.namespace.name}", "exec"]
        arguments += ["-i"] if stdin is not None else []
        done = subprocess.run([*arguments, HOLDER, "--", *command], input=stdin, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
