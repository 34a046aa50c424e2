"""thaw itself, by its Helm chart, with the images of the Dockerfile."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cluster.kubectl import Api
from tests.cluster.one_node.layout import Layout
from tests.cluster.one_node.node import CommandFailed

RELEASE = "thaw"
NAMESPACE = "thaw-system"
FOLDER = Path(__file__).resolve().parents[3] / "charts" / "thaw"
TIMEOUT = "120s"


def settings(operator_image: str, trainer_image: str) -> dict[str, str]:
    """The chart's values here; images are `name:tag`, and no registry has them."""
    name, _, tag = operator_image.rpartition(":")
    return {
        "image.repository": name,
        "image.tag": tag,
        "image.pullPolicy": "Never",
        "trainer.image": trainer_image,
        "trainer.pullPolicy": "Never",
        # Two cores are shared by everything: the head, which trains nothing, leaves them to the workers.
        "trainer.head.cpu": "100m",
        "trainer.head.memory": "3Gi",
        "operator.resources.requests.cpu": "10m",
    }


def forget_unfinished(api: Api) -> None:
    """An operation that was interrupted would keep Helm from another one for ever. Ours are made one at a time: what is
    said to be going on is over."""
    unfinished = f"owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    api.kubectl("delete", "secrets", f"--namespace={NAMESPACE}", f"--selector={unfinished}")


def install(helm: Path, layout: Layout, values: dict[str, str]) -> None:
    """Install the chart, or bring the installed one to what the folder says; returns when it is ready."""
    command = [str(helm), "upgrade", "--install", RELEASE, str(FOLDER)]
    command += [f"--namespace={NAMESPACE}", "--create-namespace", "--wait", f"--timeout={TIMEOUT}"]
    command += [f"--set-string={name}={value}" for name, value in values.items()]
    home = layout.state / "helm"
    folders = {f"HELM_{kind}_HOME": str(home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    environ = {**os.environ, **folders, "KUBECONFIG": str(layout.kubeconfig)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    if done.returncode != 0:
        raise CommandFailed(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
