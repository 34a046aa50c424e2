"""The images of the Dockerfile."""

from __future__ import annotations

import pytest

from tests.cluster.conftest import TestCluster
from tests.cluster.namespaces import Namespace
from tests.cluster.ray_jobs import pod

POD_SECONDS = 60.0
ENDED = {"Succeeded", "Failed"}
PRESENT = "import importlib.util, sys; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m)])"
MODULES = ["kopf", "kubernetes", "thaw_operator", "thaw_trainer", "ray", "torch", "transformers"]


@pytest.mark.parametrize(
    ("target", "present"),
    [
        ("operator", ["kopf", "kubernetes", "thaw_operator", "thaw_trainer"]),
        ("trainer", ["kubernetes", "thaw_operator", "thaw_trainer", "ray", "torch", "transformers"]),
    ],
)
def test_an_image_has_what_it_needs_and_the_operators_no_torch(
    target: str, present: list[str], cluster: TestCluster, namespace: Namespace
) -> None:
    image = cluster.trainer_image.replace("trainer", target)
    namespace.apply(pod("look", image, ["python", "-c", PRESENT, *MODULES]))
    assert namespace.wait_for("pod", "look", ("status", "phase"), ENDED, POD_SECONDS) == "Succeeded"
    assert namespace.kubectl("logs", "look").split() == present
