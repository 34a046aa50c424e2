"""The smallest valid FineTuneJob, and changes to it by the path of the field."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import yaml

from thaw_api import FieldError, InvalidManifest, read_job

MINIMAL: dict[str, Any] = {
    "apiVersion": "thaw.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "sections"},
    "spec": {
        "task": "text-classification",
        "model": {"uri": "pkg://package/model"},
        "data": {"train": {"uri": "pkg://package/train.csv"}},
        "output": {"uri": "pvc://models/sections"},
    },
}

ABSENT = object()
"""As a value: the field is left out."""


def job(changes: dict[str, Any] | None = None, name: str = "sections") -> dict[str, Any]:
    """The minimal job with changes, each a path below `spec` (no list indices) and its value."""
    manifest = deepcopy(MINIMAL)
    manifest["metadata"]["name"] = name
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        node = manifest["spec"]
        for part in parents:
            node = node.setdefault(part, {})
        if value is ABSENT:
            node.pop(last, None)
        else:
            node[last] = deepcopy(value)
    return manifest


def phase(name: str = "head", **changes: Any) -> dict[str, Any]:
    """A freezing phase that trains the head for one epoch."""
    return {"name": name, "train": ["head"], "until": {"epochs": 1}, **changes}


def parameter(path: str = "training.optimizer.lr", **domain: dict[str, Any]) -> dict[str, Any]:
    """A searched parameter; without a domain, it takes one of two learning rates."""
    return {"path": path, **(domain or {"choice": {"values": [0.001, 0.01]}})}


def text(manifest: dict[str, Any]) -> str:
    """The manifest as a file has it."""
    return yaml.safe_dump(manifest, sort_keys=False)


def errors_of(changes: dict[str, Any]) -> list[FieldError]:
    """What is wrong with a job that has these changes."""
    try:
        read_job(job(changes))
    except InvalidManifest as refused:
        return refused.errors
    return []
