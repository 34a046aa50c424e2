"""The generated schema, walked: what Kubernetes asks of it, and what keeps `kubectl explain` and Argo CD useful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from tests.manifests import job
from thaw_api.crd import object_schema
from thaw_api.schema_model import CelRule, SchemaModel, UnionModel
from thaw_api.structural_schema import Schema, structural_schema, walk

PRESERVED = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
STRUCTURAL = {
    *("description", "type", "format", "enum", "pattern", "default", "minimum", "exclusiveMinimum", "maximum"),
    *("exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("required", "properties", "additionalProperties", "items", PRESERVED, INT_OR_STRING),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"),
}
IN_ORDER = [
    *("spec.freezing.phases", "spec.freezing.phases[].train", "spec.data.clean", "spec.data.features"),
    *("spec.data.augment", "spec.search.parameters", "spec.search.parameters[].choice.values"),
    "spec.training.optimizer.betas",
]


def nodes() -> dict[str, Schema]:
    """Every node of the whole object's schema by its path."""
    found: dict[str, Schema] = {}
    walk(object_schema(), found.__setitem__)
    return found


NODES = nodes()


def fields() -> Iterator[tuple[str, Schema]]:
    """The nodes that have a name: not the items of lists and the values of maps."""
    return ((path, node) for path, node in NODES.items() if path and not path.endswith(("[]", "{}")))


def test_every_field_has_a_description_of_one_line() -> None:
    # What a CRD says about metadata, its name and generateName apart, Kubernetes refuses.
    described = {path: node.get("description", "") for path, node in fields() if path != "metadata"}
    assert [path for path, text in described.items() if not text.strip()] == []
    assert [path for path, text in described.items() if "\n" in text or "  " in text] == []


def test_there_is_no_default_below_a_list_or_a_map() -> None:
    below = [path for path, node in NODES.items() if ("[]" in path or "{}" in path) and "default" in node]
    assert below == []


def test_there_are_defaults_elsewhere() -> None:
    assert NODES["spec.training.epochs"]["default"] == 3
    assert NODES["spec.training"]["default"] == {}
    assert "default" not in NODES["spec.model.adapter"]
    assert "default" not in NODES["spec.model.head.margin"]
    assert NODES["spec.model.head.margin.scale"]["default"] == 64


def test_nothing_grows_without_bound() -> None:
    unbounded = []
    for path, node in NODES.items():
        kind = node.get("type")
        if kind == "string" and not ({"enum", "maxLength"} & node.keys()) and path not in ("apiVersion", "kind"):
            unbounded.append(path)
        if kind == "array" and "maxItems" not in node:
            unbounded.append(path)
        if "additionalProperties" in node and "maxProperties" not in node:
            unbounded.append(path)
        if node.get(INT_OR_STRING) and not {"maxLength", "x-kubernetes-validations"} & node.keys():
            unbounded.append(path)
    assert unbounded == []


def test_every_node_is_structural() -> None:
    for path, node in NODES.items():
        assert node.keys() <= STRUCTURAL, path
        assert ("type" in node) != bool(node.get(PRESERVED) or node.get(INT_OR_STRING)), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert ("items" in node) == (node.get("type") == "array"), path


def test_every_object_says_what_is_in_it() -> None:
    objects = {path: node for path, node in NODES.items() if node.get("type") == "object"}
    assert [path for path, node in objects.items() if not {"properties", "additionalProperties"} & node.keys()] == []


def test_open_bounds_are_flags_beside_a_number() -> None:
    lr = NODES["spec.training.optimizer.lr"]
    assert (lr["minimum"], lr["exclusiveMinimum"], lr["maximum"]) == (0, True, 10)
    assert "exclusiveMaximum" not in lr


def test_whole_numbers_say_how_wide_they_are() -> None:
    assert {node["format"] for node in NODES.values() if node.get("type") == "integer"} == {"int32", "int64"}
    assert NODES["spec.training.epochs"]["format"] == "int32"
    assert NODES["status.training.freezing.totalParameters"]["format"] == "int64"


def test_every_list_says_how_it_is_merged() -> None:
    lists = {path: node["x-kubernetes-list-type"] for path, node in NODES.items() if node.get("type") == "array"}
    assert {path for path, kind in lists.items() if kind == "map"} == {
        *("status.conditions", "status.training.metrics", "status.training.trialTable", "spec.cluster.workers.env"),
    }
    assert set(lists.values()) == {"map", "atomic"}


@pytest.mark.parametrize("path", IN_ORDER)
def test_a_list_whose_order_means_something_is_atomic(path: str) -> None:
    assert NODES[path]["x-kubernetes-list-type"] == "atomic"


def test_keys_of_map_lists_are_required() -> None:
    for path, node in NODES.items():
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


def test_a_step_is_an_object_of_one_key() -> None:
    for name in ("clean", "features", "augment"):
        step = NODES[f"spec.data.{name}[]"]
        assert (step["minProperties"], step["maxProperties"]) == (1, 1)
        # Values of a map, and not fields of an object that preserves unknown ones: there, the apiserver's `==`
        # takes two steps of different names for equal.
        assert step["additionalProperties"] == {PRESERVED: True}


def test_a_parameter_is_a_path_and_one_domain() -> None:
    parameter = NODES["spec.search.parameters[]"]
    assert (parameter["minProperties"], parameter["maxProperties"]) == (2, 2)
    assert parameter["required"] == ["path"]


def test_what_may_be_left_out_is_not_required() -> None:
    spec = object_schema()["properties"]["spec"]
    assert set(spec["required"]) == set(job()["spec"])


def test_a_rule_has_a_message_of_one_line() -> None:
    for path, node in NODES.items():
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"].strip(), path
            assert "\n" not in rule["message"], path


class Plain(SchemaModel):
    """A model."""

    size: int = 1
    """How large."""

    cel_rules = (CelRule("self.size > 0", "size must be above 0"),)


class Special(Plain):
    """A model that adds a rule."""

    cel_rules = (CelRule("self.size < 9", "size must be below 9"),)


def test_rules_are_inherited() -> None:
    rules = structural_schema(Special)["x-kubernetes-validations"]
    assert [rule["message"] for rule in rules] == ["size must be above 0", "size must be below 9"]


def test_an_arm_of_a_union_loses_its_defaults_and_the_same_object_elsewhere_keeps_them() -> None:
    class Either(UnionModel):
        """A union."""

        left: Plain | None = None
        """One arm."""
        right: Plain | None = None
        """The other."""

    class Holder(SchemaModel):
        """Both."""

        either: Either
        """A union."""
        plain: Plain = Field(default_factory=Plain)
        """No union."""

    properties = structural_schema(Holder)["properties"]
    assert properties["either"]["minProperties"] == properties["either"]["maxProperties"] == 1
    assert "default" not in properties["either"]["properties"]["left"]["properties"]["size"]
    assert properties["plain"]["properties"]["size"]["default"] == 1
    assert properties["plain"]["default"] == {}


def test_an_open_bound_of_a_whole_number_is_the_next_one() -> None:
    class Open(SchemaModel):
        """A model."""

        size: Annotated[int, Field(gt=0, lt=10)]
        """How large."""

    size = structural_schema(Open)["properties"]["size"]
    assert (size["minimum"], size["maximum"]) == (1, 9)
    assert not {"exclusiveMinimum", "exclusiveMaximum"} & size.keys()


def test_a_constant_is_a_choice_of_one() -> None:
    class Constant(SchemaModel):
        """A model."""

        kind: Literal["a"]
        """Which."""

    assert structural_schema(Constant)["properties"]["kind"]["enum"] == ["a"]


def test_a_field_that_a_crd_cannot_describe_is_refused() -> None:
    class Unclear(SchemaModel):
        """A model."""

        value: bool | int
        """Either."""

    with pytest.raises(NotImplementedError, match="union"):
        structural_schema(Unclear)


def test_a_list_is_merged_by_the_key_that_its_model_names() -> None:
    class Item(SchemaModel):
        """An item."""

        name: str
        """Its name."""

    class Listing(SchemaModel):
        """A list."""

        items_by_name: list[Item]
        """Items."""

        list_map_keys: ClassVar[dict[str, str]] = {"itemsByName": "name"}

    items: dict[str, Any] = structural_schema(Listing)["properties"]["itemsByName"]
    assert (items["x-kubernetes-list-type"], items["x-kubernetes-list-map-keys"]) == ("map", ["name"])
