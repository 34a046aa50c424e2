from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.kubectl import Api, KubectlError


def config_map(**metadata: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sections", **metadata}}


def test_the_server_says_which_version_it_is(api: Api) -> None:
    """A build without its version stamp says v0.0.0, and clients cannot compare themselves."""
    answer = json.loads(api.kubectl("version", "-o", "json").stdout)
    assert answer["serverVersion"]["gitVersion"].startswith("v1.")


def test_the_server_says_that_it_is_ready(api: Api) -> None:
    assert api.kubectl("get", "--raw", "/readyz").stdout == "ok"


def test_rights_are_checked(api: Api) -> None:
    asked = ["auth", "can-i", "create", "secrets", "-n", "default"]
    assert api.kubectl(*asked).stdout.strip() == "yes"
    nobody = api.kubectl(*asked, "--as=nobody", check=False)
    assert (nobody.returncode, nobody.stdout.strip()) == (1, "no")


@pytest.mark.parametrize("manifest", [config_map(), json.dumps(config_map())], ids=["dict", "text"])
def test_a_dry_run_returns_the_admitted_object_and_keeps_nothing(api: Api, manifest: dict[str, Any] | str) -> None:
    admitted = api.dry_run(manifest)
    assert admitted["metadata"]["namespace"] == "default"
    assert admitted["metadata"]["uid"]
    assert api.kubectl("get", "configmap", "sections", "--ignore-not-found").stdout == ""


def test_a_dry_run_that_is_refused_says_why(api: Api) -> None:
    with pytest.raises(KubectlError) as refused:
        api.dry_run(config_map(name="Not_A_Name"))
    assert 'metadata.name: Invalid value: "Not_A_Name"' in refused.value.stderr


def test_a_dry_run_refuses_a_field_that_does_not_exist(api: Api) -> None:
    with pytest.raises(KubectlError, match='unknown field "dat"'):
        api.dry_run({**config_map(), "dat": {"a": "b"}})
