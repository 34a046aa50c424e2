"""What the operator takes: memory when idle and beside many finished jobs, and CPU while nothing happens.

    KUBECONFIG=... python benchmarks/operator_footprint.py [--jobs 200] [--idle 60]

Reads the operator's own metrics through the apiserver. The jobs ask for what is not available yet, so that each of them
fails at once; the namespace that holds them is removed at the end.
"""

import argparse
import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULT = Path(__file__).resolve().parent / "results" / "operator_footprint.json"
METRICS = "/api/v1/namespaces/thaw-system/services/thaw-operator-metrics:9090/proxy/metrics"
NAMESPACE = "operator-footprint"
LIMIT = 300.0


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints; ends this command with its error when it fails."""
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def metric(name: str) -> float:
    """A metric of the operator that has no labels."""
    lines = kubectl("get", "--raw", METRICS).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def megabytes() -> float:
    return metric("process_resident_memory_bytes") / 1e6


def cpu_share(seconds: float) -> float:
    """The share of one core that the operator takes for some seconds."""
    before = metric("process_cpu_seconds_total")
    time.sleep(seconds)
    return (metric("process_cpu_seconds_total") - before) / seconds


def job(number: int) -> dict[str, Any]:
    """A job that the operator refuses by name."""
    spec = {
        "task": "text-classification",
        "model": {"uri": "hf://org/model"},
        "data": {"train": {"uri": "pkg://package/train.csv"}, "columns": {"text": "text", "label": "label"}},
        "output": {"uri": "pvc://models/out"},
        "cluster": {"workers": {"min": 1, "max": 2}},
    }
    metadata = {"name": f"job-{number}", "namespace": NAMESPACE}
    return {"apiVersion": "thaw.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata, "spec": spec}


def finish_jobs(count: int) -> None:
    """Creates jobs and waits until all of them have failed."""
    items = [job(number) for number in range(count)]
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    began = time.monotonic()
    while (failed := kubectl("get", "ftj", "-n", NAMESPACE, "--no-headers").count(" Failed ")) < count:
        if time.monotonic() - began > LIMIT:
            raise SystemExit(f"{failed} of {count} jobs are over after {LIMIT:.0f} s")
        time.sleep(1.0)


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = argparse.ArgumentParser(description="The operator's memory and CPU.")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds over which CPU is measured")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    figures: dict[str, Any] = {"date": datetime.now(UTC).date().isoformat(), "jobs": chosen.jobs}
    figures["idleMegabytes"] = round(megabytes(), 1)
    kubectl("create", "namespace", NAMESPACE)
    try:
        began = time.monotonic()
        finish_jobs(chosen.jobs)
        figures["secondsForAll"] = round(time.monotonic() - began, 1)
        figures["megabytes"] = round(megabytes(), 1)
        figures["idleCpuShare"] = round(cpu_share(chosen.idle), 5)
    finally:
        kubectl("delete", "namespace", NAMESPACE)
    print(f"idle                     {figures['idleMegabytes']:.1f} MB")
    print(f"with {chosen.jobs} finished jobs   {figures['megabytes']:.1f} MB, after {figures['secondsForAll']:.1f} s")
    print(f"CPU, nothing happening   {figures['idleCpuShare']:.2%} of a core")
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
