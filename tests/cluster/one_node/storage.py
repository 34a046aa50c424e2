"""Volumes: a default StorageClass without a provisioner, and a stock of folders on the node.

A plain claim binds to one of the stock. The cluster has one node, so a folder of it can be given to
many pods at once as well as to one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.cluster.kubectl import Api
from tests.cluster.one_node.layout import Layout

CLASS = "standard"
COUNT = 24
SIZE = "5Gi"


def manifests(layout: Layout) -> list[dict[str, Any]]:
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }
    return [storage_class, *(volume(layout, f"volume-{number:02}") for number in range(1, COUNT + 1))]


def volume(layout: Layout, name: str, size: str = SIZE) -> dict[str, Any]:
    """A PersistentVolume that is the folder of its name."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(layout.volumes / name), "type": "Directory"},
        },
    }


def make_folders(layout: Layout) -> None:
    """Everybody may write into them: pods run as users that this machine does not know."""
    layout.volumes.mkdir(parents=True, exist_ok=True)
    for number in range(1, COUNT + 1):
        _make(layout.volumes / f"volume-{number:02}")


def refill(api: Api) -> None:
    """Empty the volumes whose claims are gone, and make them free again, as a provisioner would."""
    for item in json.loads(api.kubectl("get", "persistentvolumes", "-o", "json").stdout)["items"]:
        if item.get("status", {}).get("phase") != "Released" or "hostPath" not in item["spec"]:
            continue
        folder = Path(item["spec"]["hostPath"]["path"])
        shutil.rmtree(folder)
        _make(folder)
        patch = json.dumps([{"op": "remove", "path": "/spec/claimRef"}])
        api.kubectl("patch", "persistentvolume", item["metadata"]["name"], "--type=json", f"--patch={patch}")


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
