"""From an OCI layout into containerd: only what it does not have yet, so that a new last layer takes seconds."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.cluster.one_node.layout import Layout
from tests.cluster.one_node.node import CommandFailed, Node
from tests.cluster.one_node.runtime import NAMESPACE, SOCKET, ctr

REFERENCE = "org.opencontainers.image.ref.name"
# The name that containerd gives to what it imports.
NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class OciLayout:
    """A folder in the OCI image layout (https://github.com/opencontainers/image-spec, image-layout.md)."""

    folder: Path

    def descriptor(self, reference: str) -> dict[str, Any]:
        """The manifest of the image that was pushed under this reference."""
        (found,) = (each for each in self._named() if each["annotations"][REFERENCE] == reference)
        return found

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def layers(self, descriptor: dict[str, Any]) -> list[str]:
        return [layer["digest"] for layer in self._manifest(descriptor)["layers"]]

    def write(self, stream: IO[bytes], descriptor: dict[str, Any], name: str, known: set[str]) -> None:
        """A tar of one image under its `name`, without the layers whose digests are `known`."""
        annotated = {**descriptor, "annotations": {NAME: name}}
        index = {"schemaVersion": 2, "manifests": [annotated]}
        layers = [layer for layer in self.layers(descriptor) if layer not in known]
        digests = [descriptor["digest"], self._manifest(descriptor)["config"]["digest"], *layers]
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            for file, document in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
                content = json.dumps(document).encode()
                entry = tarfile.TarInfo(file)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            for digest in dict.fromkeys(digests):
                tar.add(self.blob(digest), arcname=f"blobs/{digest.replace(':', '/')}")

    def prune(self) -> None:
        """Delete what no reference needs: another image that was pushed under the same one has taken it over."""
        named = self._named()
        index = {"schemaVersion": 2, "manifests": named}
        (self.folder / "index.json").write_text(json.dumps(index))
        needed = {digest for each in named for digest in self._digests(each)}
        for blob in (self.folder / "blobs" / "sha256").iterdir():
            if f"sha256:{blob.name}" not in needed:
                blob.unlink()

    def _named(self) -> list[dict[str, Any]]:
        index = json.loads((self.folder / "index.json").read_text())
        return [each for each in index["manifests"] if REFERENCE in each.get("annotations", {})]

    def _digests(self, descriptor: dict[str, Any]) -> list[str]:
        return [descriptor["digest"], self._manifest(descriptor)["config"]["digest"], *self.layers(descriptor)]

    def _manifest(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        return dict(json.loads(self.blob(descriptor["digest"]).read_text()))


def import_image(node: Node, layout: OciLayout, reference: str, name: str) -> None:
    """containerd has the image `name`, unpacked, after this."""
    descriptor = layout.descriptor(reference)
    known = set(ctr(node, "content", "list", "--quiet").split())
    command = node.command("ctr", f"--address={SOCKET}", f"--namespace={NAMESPACE}", "images", "import", "-")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            layout.write(process.stdin, descriptor, name, known)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why below
        output = process.stdout.read().decode(errors="replace")
    if process.returncode != 0:
        raise CommandFailed(f"`{' '.join(command)}` of {name} failed:\n{output}")
    for digest in layout.layers(descriptor):
        _share(node.layout, layout.blob(digest), digest)


def _share(cluster: Layout, blob: Path, digest: str) -> None:
    """One file instead of two: a layer of 6 GB is in containerd's store as it is in the layout."""
    stored = cluster.containerd / "io.containerd.content.v1.content" / "blobs" / digest.replace(":", "/")
    if stored.exists() and not stored.samefile(blob):
        link = blob.with_suffix(".link")
        link.hardlink_to(stored)
        link.replace(blob)
