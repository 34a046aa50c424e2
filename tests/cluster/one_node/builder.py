"""buildah, with all that it keeps in the cache and all that it mounts gone with each command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.one_node.node import CommandFailed, run

# What containers/image remembers of blobs lies in a folder that no flag can change.
BESIDE = 'mkdir -p /var/lib/containers && mount --bind "$1" /var/lib/containers && shift && exec "$@"'


@dataclass(frozen=True)
class Builder:
    """Builds images without a daemon; they are kept in `folder`, under names of their own."""

    folder: Path

    def has(self, name: str) -> bool:
        with suppress(CommandFailed):
            return bool(self._buildah("images", "--quiet", name).strip())
        return False

    def build(
        self, file: Path, context: Path, name: str, target: str = "", args: Mapping[str, str] | None = None
    ) -> None:
        """Build a Dockerfile's target as the image `name`; steps that are the same as before are not run again."""
        options = [f"--build-arg={key}={value}" for key, value in (args or {}).items()]
        if target:
            options.append(f"--target={target}")
        # A container in a chroot needs nothing of the machine that a machine in a container may lack.
        options += ["--isolation=chroot", "--network=host", "--layers", "--pull-never"]
        self._buildah("build", *options, f"--file={file}", f"--tag={name}", str(context))

    def push(self, name: str, layout: Path, reference: str) -> None:
        """Add the image to an OCI layout; layers that are there already are not written again.

        A push to a layout compresses what it writes, and knows a layer again by its uncompressed digest
        only. So layers go there uncompressed, by way of a plain folder, unless it is but the last that is new.
        """
        layers = json.loads(self._buildah("inspect", "--type=image", name))["OCIv1"]["rootfs"]["diff_ids"]
        blobs = layout / "blobs" / "sha256"
        if not all((blobs / layer.removeprefix("sha256:")).exists() for layer in layers[:-1]):
            blobs.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder) as folder:
                self._buildah("push", "--disable-compression", name, f"dir:{folder}")
                for layer in (digest.removeprefix("sha256:") for digest in layers):
                    (Path(folder) / layer).replace(blobs / layer)
        self._buildah("push", name, f"oci:{layout}:{reference}")

    def prune(self) -> None:
        """Delete what no named image is made of; the cached steps of an image are kept with it."""
        self._buildah("rmi", "--prune", "--force")

    def _buildah(self, *arguments: str) -> str:
        scratch, known = self.folder / "tmp", self.folder / "known-blobs"
        for folder in (scratch, known):
            folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=scratch) as runroot:
            storage = [f"--root={self.folder / 'buildah'}", f"--runroot={runroot}", "--storage-driver=overlay"]
            command = ["env", f"TMPDIR={scratch}", "buildah", *storage, *arguments]
            return run(["unshare", "--mount", "--propagation=private", "sh", "-c", BESIDE, "sh", str(known), *command])
