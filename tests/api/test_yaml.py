"""A manifest read by thaw is the manifest that kubectl sends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.kubectl import Api
from tests.manifests import job, text
from thaw_api.yaml_text import read_documents

SCALARS = [
    *("3e-4", "3E4", "1e3", "-1e-5", "+2", "1.", ".5", "-.5", "4.0", "6.8523015e+5", "1_0.5", "1e-400", "1e400"),
    *("0x1F", "0X1f", "-0x1F", "017", "0o17", "-017", "08", "09.5", "00", "0b101", "0b12", "1_000", "0_", "0x_"),
    *("9223372036854775807", "100000000000000000000", "1:30", "190:20:30", "2026-01-01", "1-2", "--1", "_1", "e3"),
    *("y", "Y", "yes", "Yes", "YES", "yEs", "on", "On", "n", "N", "no", "off", "nO", "true", "True", "FALSE", "tRue"),
    *("'3e-4'", '"yes"', "text", "=", "blocks[-1:]", "'~'"),
]


def steps(manifest: str) -> list[dict[str, Any]]:
    (document,) = read_documents(manifest)
    found: list[dict[str, Any]] = document["spec"]["data"]["clean"]
    return found


def test_each_scalar_means_what_it_means_to_kubectl(api: Api, crd: str) -> None:
    values = "".join(f"\n        - {scalar}" for scalar in SCALARS)
    manifest = text(job({"data.clean": "STEPS"})).replace("STEPS", f"\n    - step:\n        values:{values}")
    ours = steps(manifest)[0]["step"]["values"]
    theirs = api.dry_run(manifest)["spec"]["data"]["clean"][0]["step"]["values"]
    both = zip(SCALARS, ours, theirs, strict=True)
    assert [(scalar, mine, other) for scalar, mine, other in both if (mine, kind(mine)) != (other, kind(other))] == []


def kind(value: Any) -> str:
    """JSON's kind of value: it has one kind of number."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.mark.parametrize(
    "anchored",
    [
        "[a: &x {b: 1}, c: *x]",
        "[a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}]",
        "[a: &x {b: 1}, c: &y {<<: *x, b: 2}, d: {e: 5, <<: *y}]",
        "[a: &x {b: 1}, c: &y {b: 2, d: 3}, e: {<<: [*x, *y]}]",
    ],
)
def test_anchors_and_merges_mean_what_they_mean_to_kubectl(api: Api, crd: str, anchored: str) -> None:
    manifest = text(job({"data.clean": "STEPS"})).replace("STEPS", anchored)
    assert steps(manifest) == api.dry_run(manifest)["spec"]["data"]["clean"]
