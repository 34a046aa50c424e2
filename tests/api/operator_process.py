"""The operator as a process of its own, with the rights that the chart gives it and no others."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until
from tests.cluster.processes import reserved_ports

CHART = Path(__file__).resolve().parents[2] / "charts" / "thaw"
NAMESPACE = "thaw-system"
START_SECONDS = 60.0
KUBERNETES = "1.34.4"


@dataclass(frozen=True)
class OperatorProcess:
    """A running operator."""

    metrics_port: int
    log: Path

    def requests(self) -> dict[tuple[str, str], int]:
        """How many requests it has sent so far, by verb and kind."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url) as answer:
            lines = answer.read().decode().splitlines()
        found: dict[tuple[str, str], int] = {}
        for line in lines:
            if line.startswith("thaw_api_requests_total{"):
                labels, value = line.removeprefix("thaw_api_requests_total{").split("} ")
                pairs = dict(pair.split("=") for pair in labels.replace('"', "").split(","))
                key = pairs["verb"], pairs["kind"]
                found[key] = found.get(key, 0) + int(float(value))
        return found

    def writes(self) -> int:
        """How many requests it has sent that change something; Events apart."""
        return sum(count for (verb, kind), count in self.requests().items() if verb != "get" and kind != "Event")


def rendered(helm: Path, *values: str) -> list[dict[str, Any]]:
    """The chart's manifests."""
    command = [str(helm), "template", "thaw", str(CHART), f"--namespace={NAMESPACE}", f"--kube-version={KUBERNETES}"]
    done = subprocess.run([*command, *values], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def install_rights(api: Api, helm: Path) -> Path:
    """Creates the chart's account with its rights; returns a kubeconfig of that account."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    chosen = [namespace, *(each for each in rendered(helm) if each["kind"] in kinds)]
    for manifest in chosen:
        api.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(manifest))
    token = api.kubectl("create", "token", "thaw-operator", "-n", NAMESPACE, "--duration=2h").stdout.strip()
    config = json.loads(api.kubeconfig.read_text(encoding="utf-8"))
    config["users"] = [{"name": "admin", "user": {"token": token}}]
    file = api.folder / "operator.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


@contextmanager
def operator_process(kubeconfig: Path, folder: Path, **settings: str) -> Iterator[OperatorProcess]:
    """Runs the operator for as long as the block runs; it is killed at its end, without a chance to tidy up."""
    folder.mkdir(exist_ok=True)
    with reserved_ports(2) as (metrics_port, liveness_port):
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "THAW_TRAINER_IMAGE": "trainer:test",
            "THAW_METRICS_PORT": str(metrics_port),
            "THAW_LIVENESS_PORT": str(liveness_port),
            "THAW_RECHECK_SECONDS": "1",
            **settings,
        }
    log = folder / "operator.log"
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "thaw_operator"], env={**os.environ, **environment}, stdout=out, stderr=out
        )
    operator = OperatorProcess(metrics_port, log)

    def silent() -> str | None:
        if process.poll() is not None:
            return f"it ended with status {process.returncode}: {log.read_text(encoding='utf-8')[-2000:]}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{liveness_port}/healthz", timeout=5):
                return None
        except OSError as error:
            return str(error)

    try:
        wait_until("the operator is alive", silent, START_SECONDS)
        yield operator
    finally:
        process.kill()
        process.wait()
