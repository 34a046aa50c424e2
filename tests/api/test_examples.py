"""Every example is a job that a cluster admits, once its data lies where a cluster can read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubectl import Api, KubectlError
from thaw_api.yaml_text import read_documents

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MANIFESTS = sorted(
    file for file in EXAMPLES.glob("*/*.yaml") if "kind: FineTuneJob" in file.read_text(encoding="utf-8")
)
FILE_REFUSED = "file: is for `thaw run`; on a cluster use pvc://, s3:// …"


def documents(manifest: Path) -> list[dict[str, Any]]:
    return read_documents(manifest.read_text(encoding="utf-8"))


def file_uris(tree: Any) -> list[str]:
    """Every `file:` URI in the tree."""
    if isinstance(tree, dict | list):
        children = tree.values() if isinstance(tree, dict) else tree
        return [uri for child in children for uri in file_uris(child)]
    return [tree] if isinstance(tree, str) and tree.startswith("file:") else []


def on_a_claim(tree: Any) -> Any:
    """The tree with every `file:` URI on a PersistentVolumeClaim."""
    if isinstance(tree, dict):
        return {key: on_a_claim(child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [on_a_claim(child) for child in tree]
    if isinstance(tree, str) and tree.startswith("file:"):
        return f"pvc://data/{tree.removeprefix('file:').lstrip('/')}"
    return tree


def test_every_example_has_a_manifest() -> None:
    folders = {path for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders
    assert {manifest.parent for manifest in MANIFESTS} == folders


@pytest.mark.parametrize("manifest", MANIFESTS, ids=[manifest.parent.name for manifest in MANIFESTS])
def test_an_example_is_admitted_once_its_data_is_on_a_claim(api: Api, crd: str, manifest: Path) -> None:
    found = documents(manifest)
    assert found
    for document in found:
        assert api.dry_run(on_a_claim(document))["spec"]["task"] == document["spec"]["task"]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=[manifest.parent.name for manifest in MANIFESTS])
def test_an_example_with_local_files_is_refused_for_that_alone(api: Api, crd: str, manifest: Path) -> None:
    for document in documents(manifest):
        local = file_uris(document["spec"])
        if not local:
            continue
        with pytest.raises(KubectlError) as refused:
            api.dry_run(document)
        assert refused.value.stderr.count("Invalid value") == refused.value.stderr.count(FILE_REFUSED) == len(local)
