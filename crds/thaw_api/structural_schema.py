"""The models as a structural OpenAPI v3.0 schema, the form that a CRD takes: no references, no unions but the two
that Kubernetes knows, a bound on whatever can grow."""

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from thaw_api.schema_model import CelRule, SchemaModel, UnionModel

Schema: TypeAlias = dict[str, Any]

_LIST_TYPE = "x-kubernetes-list-type"
_RULES = "x-kubernetes-validations"
_IS_UNION = "x-thaw-union"
"""Marks a UnionModel until its arms have lost their defaults; the CRD does not have it."""

_KEY_ORDER = (
    *("description", "type", "format", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"),
    *("enum", "pattern", "default", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *(_LIST_TYPE, "x-kubernetes-list-map-keys", "required", "properties", "additionalProperties", "items", _RULES),
)


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of a model, its description and defaults included.

    Raises:
        NotImplementedError: a field has a type that a CRD cannot describe.
    """
    schema = model.model_json_schema(by_alias=True, schema_generator=_ModelSchema)
    return _structural(schema, schema.get("$defs", {}), with_defaults=True)


class _ModelSchema(GenerateJsonSchema):
    """pydantic's JSON schema, and what only the models know: rules, keys of lists, unions, defaults of objects."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        model = cast(type[SchemaModel], schema["cls"])
        rules = _rules_of(model)
        if rules:
            json_schema[_RULES] = [rule.as_schema() for rule in rules]
        for name, key in model.list_map_keys.items():
            json_schema["properties"][name] |= {_LIST_TYPE: "map", "x-kubernetes-list-map-keys": [key]}
        if issubclass(model, UnionModel):
            parts = model.shared_fields + 1
            json_schema |= {"minProperties": parts, "maxProperties": parts, _IS_UNION: True}
        return json_schema

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        # A field that may be absent is not required, which is all; the apiserver drops nulls.
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        json_schema = super().default_schema(schema)
        if "default" in json_schema and json_schema["default"] is None:
            del json_schema["default"]
        if "default_factory" in schema:
            # An object: what is inside has defaults of its own, which apply only where the object is there.
            json_schema["default"] = {}
        return json_schema


def _rules_of(model: type[SchemaModel]) -> list[CelRule]:
    """The model's rules and those of the models that it inherits from, each once."""
    declared = [
        rule
        for ancestor in reversed(model.__mro__)
        for name in ("cel_rules", "cluster_rules")
        for rule in vars(ancestor).get(name, ())
    ]
    return list(dict.fromkeys(declared))


def _structural(node: Schema, definitions: dict[str, Schema], with_defaults: bool) -> Schema:
    """One node of pydantic's schema and all below it, in Kubernetes' form.

    `with_defaults` is False below a list, where a default that the apiserver fills in differs for ever from what a
    GitOps tool applied, and on the arms of a union, where it would set an arm that nobody chose.
    """
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _structural(
            target | {key: value for key, value in node.items() if key != "$ref"}, definitions, with_defaults
        )
    schema = {key: value for key, value in node.items() if key in _KEY_ORDER}
    if "anyOf" in node:
        schema |= _union(node["anyOf"])
    if "const" in node:
        schema["enum"] = [node["const"]]
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].split())
    if not with_defaults:
        schema.pop("default", None)
    below_arm = with_defaults and not node.get(_IS_UNION, False)
    if "properties" in schema:
        schema["properties"] = {
            name: _structural(child, definitions, below_arm) for name, child in schema["properties"].items()
        }
        del schema["additionalProperties"]
    elif schema.get("type") == "object":
        schema |= _map(node, definitions)
    if "items" in schema:
        schema["items"] = _structural(schema["items"], definitions, with_defaults=False)
        schema.setdefault(_LIST_TYPE, "atomic")
    _number(schema)
    return {key: schema[key] for key in _KEY_ORDER if key in schema}


def _number(schema: Schema) -> None:
    """Bounds as OpenAPI v3.0 writes them, and the width of whole numbers."""
    kind = schema.get("type")
    for bound, inward in (("Minimum", 1), ("Maximum", -1)):
        exclusive = schema.get(f"exclusive{bound}")
        if exclusive is None:
            continue
        if kind == "integer":
            del schema[f"exclusive{bound}"]
            schema[bound.lower()] = exclusive + inward
        else:
            schema[bound.lower()], schema[f"exclusive{bound}"] = exclusive, True
    if kind == "integer":
        fits = schema.get("maximum", 2**31) < 2**31 and schema.get("minimum", -(2**31) - 1) >= -(2**31)
        schema["format"] = "int32" if fits else "int64"


def _map(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """A mapping with free keys. What its keys must look like is a rule: structural schemas have no propertyNames."""
    patterns = node.get("patternProperties", {})
    values = next(iter(patterns.values()), node.get("additionalProperties"))
    names = node.get("propertyNames", {})
    if isinstance(values, dict):
        below = _structural(values, definitions, with_defaults=False)
    else:
        below = {"x-kubernetes-preserve-unknown-fields": True}
    rules = node.get(_RULES, []) + [
        CelRule(f"self.all(key, key.matches('{pattern}'))", f"keys must match {pattern}").as_schema()
        for pattern in patterns
    ]
    if names:
        low, high = names.get("minLength", 0), names["maxLength"]
        rule = f"self.all(key, size(key) >= {low} && size(key) <= {high})"
        rules.append(CelRule(rule, f"keys must have {low} to {high} characters").as_schema())
    return {"additionalProperties": below} | ({_RULES: rules} if rules else {})


def _union(branches: list[Schema]) -> Schema:
    """The unions that a structural schema can hold: a whole number or text, and any scalar."""
    by_type = {branch["type"]: branch for branch in branches}
    bounds = {
        key: value for branch in branches for key, value in branch.items() if key not in ("type", "const", "enum")
    }
    if by_type.keys() == {"integer", "string"}:
        word = by_type["string"].get("const")
        rules = {_RULES: [_number_or_word(by_type["integer"], word).as_schema()]} if word else {}
        return {"x-kubernetes-int-or-string": True} | bounds | rules
    if by_type.keys() == {"string", "integer", "number", "boolean"}:
        # Bounds that no mapping and no list meets: there is no other way to say "a scalar" without a type.
        no_tree = {"minProperties": 1, "maxProperties": 0, "minItems": 1, "maxItems": 0}
        return {"x-kubernetes-preserve-unknown-fields": True} | bounds | no_tree
    raise NotImplementedError(f"a CRD cannot describe a union of {', '.join(by_type)}")


def _number_or_word(number: Schema, word: str) -> CelRule:
    low, high = number["minimum"], number["maximum"]
    return CelRule(
        f"type(self) == int ? self >= {low} && self <= {high} : self == '{word}'",
        f"must be {word}, or a whole number from {low} to {high}",
    )


def walk(schema: Schema, visit: Callable[[str, Schema], None], path: str = "") -> None:
    """Call `visit(path, node)` for a schema and every node below it; a list's items are `path[]`, a map's `path{}`."""
    visit(path, schema)
    for name, child in schema.get("properties", {}).items():
        walk(child, visit, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        walk(schema["items"], visit, f"{path}[]")
    if "additionalProperties" in schema:
        walk(schema["additionalProperties"], visit, f"{path}{{}}")
