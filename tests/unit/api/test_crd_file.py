"""The CRD beside the models, and the command that writes it."""

from __future__ import annotations

from pathlib import Path

import yaml

from thaw_api.crd import FILE_NAME, crd, crd_text

CRDS = Path(__file__).resolve().parents[3] / "crds"
APPLY_BYTES = 256 * 1024
"""What `kubectl apply` can write into its annotation."""


def test_the_file_is_what_the_models_say() -> None:
    assert (CRDS / FILE_NAME).read_text(encoding="utf-8") == crd_text(), "run `make generate`"


def test_the_file_is_the_crd() -> None:
    assert yaml.safe_load(crd_text()) == crd()


def test_the_crd_is_small_enough_for_a_plain_apply() -> None:
    assert len(crd_text().encode()) < APPLY_BYTES


def test_the_file_has_no_anchors() -> None:
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(crd_text()))


def test_the_columns_show_fields_of_the_schema() -> None:
    version = crd()["spec"]["versions"][0]
    columns = version["additionalPrinterColumns"]
    assert [column["name"] for column in columns if "priority" not in column] == [
        *("Phase", "Progress", "Trials", "Best", "Age"),
    ]
    assert [column["name"] for column in columns if column.get("priority") == 1] == [
        *("ETA", "Queue", "RayJob", "Message"),
    ]
    for column in columns:
        node = version["schema"]["openAPIV3Schema"]
        if column["jsonPath"] == ".metadata.creationTimestamp":
            continue
        for part in column["jsonPath"].strip(".").split("."):
            node = node["properties"][part]
        assert node["type"] == column["type"], column["name"]


def test_the_resource_is_called_as_people_type_it() -> None:
    names = crd()["spec"]["names"]
    assert names["shortNames"] == ["ftj"]
    assert names["categories"] == ["all", "thaw"]
    assert crd()["spec"]["versions"][0]["subresources"] == {"status": {}}
