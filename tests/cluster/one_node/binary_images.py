"""Images of one static program each, made without a registry and without a builder."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.one_node.node import Node
from tests.cluster.one_node.runtime import ctr

REGISTRY = "docker.io"
OWNER = "thaw-test"


def image_name(program: Path) -> str:
    """Named after the program's content, so that a cluster never runs an older one."""
    digest = hashlib.sha256(program.read_bytes()).hexdigest()[:16]
    return f"{REGISTRY}/{OWNER}/{program.name}:{digest}"


def imported(node: Node, program: Path) -> str:
    """The image's name; containerd has it after this."""
    name = image_name(program)
    if name not in ctr(node, "images", "list", "--quiet").split():
        ctr(node, "images", "import", "-", stdin=archive(program, name))
    return name


def archive(program: Path, name: str) -> bytes:
    """A tar as `docker save` writes it: the image `name`, whose entrypoint is its only file."""
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    documents = {"config.json": config, "manifest.json": manifest}
    encoded = {file: json.dumps(document).encode() for file, document in documents.items()}
    return _tar({"layer.tar": layer, **encoded}, mode=0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
