"""An image of one program, as containerd reads it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.cluster.one_node.binary_images import archive, image_name


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_the_image_is_the_program_alone_and_runs_it(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"machine code")
    files = members(archive(program, "docker.io/thaw-test/pause:1"))
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["docker.io/thaw-test/pause:1"]
    assert members(files["layer.tar"]) == {"pause": b"machine code"}
    config = json.loads(files["config.json"])
    assert config["config"]["Entrypoint"] == ["/pause"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(files['layer.tar']).hexdigest()}"]


def test_another_program_has_another_name(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    names = []
    for content in (b"one", b"two"):
        program.write_bytes(content)
        names.append(image_name(program))
    assert names[0] != names[1]
