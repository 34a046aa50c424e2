"""When thaw's images are built anew, and which images containerd can forget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.one_node import thaw_images
from tests.cluster.one_node.thaw_images import content_key, superseded, used_tags


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in thaw_images.SOURCES:
        (tmp_path / name).write_text(name)
    for folder in thaw_images.SOURCE_FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(folder)
    return tmp_path


@pytest.mark.parametrize("changed", ["Dockerfile", "requirements.lock", "trainer/module.py", "operator/new.py"])
def test_a_change_of_what_goes_in_is_another_image(checkout: Path, changed: str) -> None:
    key = content_key(checkout, "base:1")
    (checkout / changed).write_text("changed")
    assert content_key(checkout, "base:1") != key


def test_another_base_is_another_image(checkout: Path) -> None:
    assert content_key(checkout, "base:1") != content_key(checkout, "base:2")


@pytest.mark.parametrize("changed", ["trainer/__pycache__/module.pyc", "notes.md"])
def test_a_change_of_anything_else_is_not(checkout: Path, changed: str) -> None:
    key = content_key(checkout, "base:1")
    (checkout / changed).parent.mkdir(exist_ok=True)
    (checkout / changed).write_text("changed")
    assert content_key(checkout, "base:1") == key


LISTED = """\
REF TYPE DIGEST SIZE PLATFORMS LABELS
docker.io/library/thaw-trainer:new application/vnd.oci.image.manifest.v1+json sha256:b 6.8 GiB linux/amd64 -
docker.io/library/thaw-trainer:old application/vnd.oci.image.manifest.v1+json sha256:a 6.8 GiB linux/amd64 -
docker.io/library/thaw-trainer:test application/vnd.oci.image.manifest.v1+json sha256:b 6.8 GiB linux/amd64 -
docker.io/thaw-test/pause:1 application/vnd.oci.image.manifest.v1+json sha256:p 1 MiB linux/amd64 -
sha256:config-of-a application/vnd.oci.image.manifest.v1+json sha256:a 6.8 GiB linux/amd64 -
sha256:config-of-b application/vnd.oci.image.manifest.v1+json sha256:b 6.8 GiB linux/amd64 -
sha256:config-of-p application/vnd.oci.image.manifest.v1+json sha256:p 1 MiB linux/amd64 -
"""


def test_an_older_image_is_forgotten_under_its_tag_and_under_its_digest() -> None:
    name = "docker.io/library/thaw-trainer"
    assert superseded(LISTED, name, {"new", "test"}) == [f"{name}:old", "sha256:config-of-a"]


def test_what_pods_are_made_from_is_known_by_its_tag() -> None:
    workloads = '{"image": "thaw-trainer:a1", "imageID": "sha256:c"}, {"image": "docker.io/library/thaw-trainer:b2"}'
    assert used_tags(workloads, "trainer") == {"a1", "b2"}
    assert used_tags(workloads, "operator") == set()
