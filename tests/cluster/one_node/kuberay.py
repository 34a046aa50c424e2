"""KubeRay: its CRDs, its rights and its operator, as its own module has them, with an image of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubectl import Api

NAMESPACE = "kuberay-system"
NAME = "kuberay-operator"


def crds(module: Path) -> Path:
    """A kustomization of its CRDs; `module` is the folder of KubeRay's Go module."""
    return module / "config" / "crd"


def manifests(api: Api, module: Path, image: str) -> list[dict[str, Any]]:
    """Its namespace, rights and operator."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    texts = [api.kubectl("kustomize", str(module / "config" / part)).stdout for part in ("rbac", "manager")]
    documents = [document for text in texts for document in yaml.safe_load_all(text)]
    return [namespace, *(_adapted(each, image) for each in documents)]


def _adapted(manifest: dict[str, Any], image: str) -> dict[str, Any]:
    """In the namespace of KubeRay; its operator with an image that is here, and as much CPU as it wants."""
    if not manifest["kind"].startswith("Cluster"):
        manifest["metadata"]["namespace"] = NAMESPACE
    for subject in manifest.get("subjects", ()):
        subject["namespace"] = NAMESPACE
    if manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        pod["securityContext"]["runAsUser"] = 65532
        (container,) = pod["containers"]
        container["image"], container["imagePullPolicy"] = image, "Never"
        container["command"] = [f"/{NAME}"]
        del container["resources"]["limits"]["cpu"]
        container["readinessProbe"].update(initialDelaySeconds=0, periodSeconds=1)
    return manifest
