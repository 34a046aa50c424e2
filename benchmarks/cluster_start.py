"""From `kubectl apply` to Running: a FineTuneJob, and a raw RayJob of the same pods, in turns on one cluster.

    KUBECONFIG=... python benchmarks/cluster_start.py --namespace demo [--rounds 5]

Needs KubeRay, thaw's chart, and the data of examples/cluster in the namespace (`make data` there). A FineTuneJob runs
when its status says Running, a raw RayJob when KubeRay says that its job is RUNNING. The raw one has the pods that thaw
would make, and a driver that does nothing.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config

from thaw_api.yaml_text import read_documents

HERE = Path(__file__).resolve().parent
JOB = HERE.parent / "examples" / "cluster" / "job.yaml"
RESULT = HERE / "results" / "cluster_start.json"
THAW = ("thaw.dev", "v1alpha1", "finetunejobs")
RAY = ("ray.io", "v1", "rayjobs")
PAUSE, LIMIT = 0.2, 300.0
Body = dict[str, Any]


class Cluster:
    """Objects of one namespace."""

    def __init__(self, namespace: str) -> None:
        config.load_kube_config()
        self.custom, self.core, self.namespace = client.CustomObjectsApi(), client.CoreV1Api(), namespace

    def create(self, kind: tuple[str, str, str], manifest: Body) -> None:
        group, version, plural = kind
        self.custom.create_namespaced_custom_object(group, version, self.namespace, plural, manifest)

    def get(self, kind: tuple[str, str, str], name: str) -> Body:
        group, version, plural = kind
        found: Body = self.custom.get_namespaced_custom_object(group, version, self.namespace, plural, name)
        return found

    def delete(self, kind: tuple[str, str, str], name: str) -> None:
        """Deletes an object, and waits until no Ray pod is left."""
        group, version, plural = kind
        self.custom.delete_namespaced_custom_object(group, version, self.namespace, plural, name)
        until(lambda: not self.core.list_namespaced_pod(self.namespace, label_selector="ray.io/cluster").items)


def until(happened: Callable[[], bool]) -> float:
    """Seconds until something has happened."""
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > LIMIT:
            raise SystemExit(f"it has not happened within {LIMIT:.0f} s")
        time.sleep(PAUSE)
    return time.monotonic() - began


def start_thaw(cluster: Cluster, round_: int, keep: list[Body]) -> float:
    """A FineTuneJob until its status says Running; the RayJob that was made for it is kept."""
    name = f"start-{round_}"
    (manifest,) = read_documents(JOB.read_text(encoding="utf-8"))
    manifest["metadata"]["name"] = name
    manifest["spec"]["output"]["uri"] += f"-{name}-{int(time.time())}"
    cluster.create(THAW, manifest)
    seconds = until(lambda: (cluster.get(THAW, name).get("status") or {}).get("phase") == "Running")
    keep.append(cluster.get(RAY, f"{name}-1"))
    cluster.delete(THAW, name)
    return seconds


def start_raw(cluster: Cluster, round_: int, made: Body) -> float:
    """A RayJob with the same pods, as a person would write it, until KubeRay says RUNNING."""
    name = f"raw-{round_}"
    spec = copy.deepcopy(made["spec"])
    spec["entrypoint"] = 'python -c "import time; time.sleep(600)"'
    groups = spec["rayClusterSpec"]
    for group in (groups["headGroupSpec"], *groups["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        # What belongs to the FineTuneJob's attempt, which is gone.
        group["template"]["metadata"] = {}
        pod["volumes"] = [volume for volume in pod["volumes"] if "configMap" not in volume]
        for container in pod["containers"]:
            mounts = container.get("volumeMounts", [])
            container["volumeMounts"] = [mount for mount in mounts if mount["name"] != "job"]
            # Whoever writes a RayJob by hand leaves the probes to KubeRay.
            container.pop("readinessProbe", None)
        pod.pop("serviceAccountName", None)
        pod.pop("affinity", None)
    cluster.create(RAY, {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name}, "spec": spec})
    seconds = until(lambda: (cluster.get(RAY, name).get("status") or {}).get("jobStatus") == "RUNNING")
    cluster.delete(RAY, name)
    return seconds


def main() -> None:
    """Runs both in turns, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(description="From apply to Running: a FineTuneJob and a raw RayJob.")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    cluster = Cluster(chosen.namespace)
    thaw: list[float] = []
    raw: list[float] = []
    for round_ in range(1, chosen.rounds + 1):
        made: list[Body] = []
        thaw.append(start_thaw(cluster, round_, made))
        raw.append(start_raw(cluster, round_, made[0]))
        print(f"round {round_}: FineTuneJob {thaw[-1]:.1f} s, raw RayJob {raw[-1]:.1f} s", flush=True)
    ratio = statistics.median(thaw) / statistics.median(raw)
    print(f"median: FineTuneJob {statistics.median(thaw):.1f} s, raw RayJob {statistics.median(raw):.1f} s")
    print(f"ratio of the medians: {ratio:.2f}")
    figures = {
        "date": datetime.now(UTC).date().isoformat(),
        "thaw": [round(seconds, 2) for seconds in thaw],
        "raw": [round(seconds, 2) for seconds in raw],
        "ratio": round(ratio, 3),
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
