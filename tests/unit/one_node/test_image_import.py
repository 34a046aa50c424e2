"""What goes from an OCI layout into containerd, on a layout that is written by hand."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tests.cluster.one_node.image_import import REFERENCE, OciLayout

NAME = "docker.io/library/thaw-trainer:test"


def blob(layout: Path, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    path = layout / "blobs" / "sha256" / digest
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def pushed(layout: Path, reference: str, *layers: bytes) -> None:
    """As buildah adds an image: an older one of the same reference stays, without its name."""
    manifest = {"config": blob(layout, reference.encode()), "layers": [blob(layout, layer) for layer in layers]}
    named = {**blob(layout, json.dumps(manifest).encode()), "annotations": {REFERENCE: reference}}
    file = layout / "index.json"
    old = json.loads(file.read_text())["manifests"] if file.exists() else []
    for each in old:
        if each.get("annotations") == {REFERENCE: reference}:
            del each["annotations"]
    file.write_text(json.dumps({"manifests": [*old, named]}))


def written(layout: OciLayout, known: set[str]) -> dict[str, bytes]:
    stream = io.BytesIO()
    layout.write(stream, layout.descriptor("trainer"), NAME, known)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_the_archive_has_the_whole_image_under_its_name(tmp_path: Path) -> None:
    pushed(tmp_path, "trainer", b"packages", b"thaw")
    files = written(OciLayout(tmp_path), known=set())
    (descriptor,) = json.loads(files["index.json"])["manifests"]
    assert descriptor["annotations"] == {"io.containerd.image.name": NAME}
    assert {b"packages", b"thaw", b"trainer"} <= set(files.values())


def test_a_layer_that_is_known_is_left_out(tmp_path: Path) -> None:
    pushed(tmp_path, "trainer", b"packages", b"thaw")
    files = written(OciLayout(tmp_path), known={f"sha256:{hashlib.sha256(b'packages').hexdigest()}"})
    assert b"thaw" in files.values()
    assert b"packages" not in files.values()


def test_an_image_that_another_has_replaced_is_pruned_but_for_what_they_share(tmp_path: Path) -> None:
    pushed(tmp_path, "trainer", b"packages", b"old")
    pushed(tmp_path, "operator", b"kopf")
    pushed(tmp_path, "trainer", b"packages", b"new")
    layout = OciLayout(tmp_path)
    layout.prune()
    kept = {path.read_bytes() for path in (tmp_path / "blobs" / "sha256").iterdir()}
    assert {b"packages", b"new", b"kopf"} <= kept
    assert b"old" not in kept
    assert b"new" in written(layout, known=set()).values()
