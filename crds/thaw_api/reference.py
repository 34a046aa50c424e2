"""docs/reference.md: every field of the resource, generated from the models."""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from thaw_api.availability import unavailable_fields
from thaw_api.cleaning import CLEANING
from thaw_api.job import API_VERSION, KIND, FineTuneJobSpec
from thaw_api.paths import parse_path, set_at
from thaw_api.schema_model import CLAIM_URI, SchemaModel
from thaw_api.status import FineTuneJobStatus
from thaw_api.tasks import TASKS

Schema: TypeAlias = dict[str, Any]

_INTRODUCTION = f"""# Every field of a {KIND}

Generated from `crds/thaw_api` by `make generate`; change the models, not this file. `kubectl explain` says the same.

A manifest has `apiVersion: {API_VERSION}`, `kind: {KIND}`, `metadata.name` and a `spec`. Paths start at the spec; `[]`
stands for each item of a list. An absent field has its default; a dash means none. What is *not available yet* is in
the schema, and using it is refused with exit status 2. `suspend`, `restartPolicy`, `activeDeadlineSeconds`,
`ttlSecondsAfterFinished` and, of `cluster`, all but `workersPerTrial` are for a cluster: `thaw run` does not read them.
"""
_STATUS = """## status

Written by the operator and, below `training`, by the trainer. `thaw run` writes [result.json](outputs.md) instead.

| field | type | meaning |
|---|---|---|
"""
_STEPS = """## Steps of data.clean, data.features and data.augment

`{name: {option: value}}`, an item of the list each; a task that is not named here has none yet.

"""
_HEADER = "| field | type | default | range | meaning |\n|---|---|---|---|---|\n"
_SCHEMES = re.compile(r"\^\(([a-z0-9|]+)\):")
_ROWS = {split: {"uri": "file:a"} for split in ("train", "validation", "test")}
_PLAIN: Schema = {"task": "text-classification", "model": {"uri": "file:a"}, "data": _ROWS, "output": {"uri": "file:a"}}
"""A spec that uses nothing but what there is; single choices are tried on it."""
_BLOCKS = {
    "freezing.cache": {},
    "cluster.workers": {"min": 1, "max": 2},
}
"""Whole blocks that may be unavailable, each with a smallest use of it."""
_TOGETHER = {"cluster.workers.max": "cluster.workers.min"}
"""Fields that mean nothing without another one."""


@dataclass(frozen=True)
class Field:
    """One field as the reference shows it; `unavailable` is empty, or says what of it is not available yet."""

    path: str
    type: str
    default: str
    range: str
    description: str
    unavailable: str


def fields_of(model: type[BaseModel]) -> list[Field]:
    """Every field of a model and of the models in it, in the order of their definition."""
    schema = model.model_json_schema(by_alias=True)
    blocks: set[str] = set()
    if model is FineTuneJobSpec:
        everything = _PLAIN
        for path, use in _BLOCKS.items():
            everything = set_at(everything, parse_path(path), use)
        blocks = _refused(everything)
    return list(_walk(schema, schema.get("$defs", {}), "", blocks))


def _walk(schema: Schema, definitions: Schema, prefix: str, blocks: set[str]) -> Iterator[Field]:
    for name, written in schema.get("properties", {}).items():
        path, node = f"{prefix}{name}", _resolved(written, definitions)
        schemes = _SCHEMES.match(node.get("pattern", ""))
        choices = [f"{scheme}:" for scheme in schemes[1].split("|")] if schemes else node.get("enum", [])
        choices += ["pvc:"] if CLAIM_URI in node.get("pattern", "") else []
        late = [choice for choice in choices if blocks and _is_refused(path, f"{choice}//a/b" if schemes else choice)]
        late = late if len(late) < len(choices) else []
        default = "required" if name in schema.get("required", ()) else _default(written)
        taken, refused = (", ".join(f"`{c}`" for c in choices if (c in late) is side) for side in (False, True))
        limits = [*_bounds(node), taken] if taken else _bounds(node)
        unavailable = refused or ("all" if _is_within(_TOGETHER.get(path, path), blocks) else "")
        text = node.get("description", "")
        yield Field(path, _type(node, definitions), default, "; ".join(limits) or "–", text, unavailable)
        yield from _walk(node, definitions, f"{path}.", blocks)
        yield from _walk(_resolved(node.get("items", {}), definitions), definitions, f"{path}[].", blocks)


def _resolved(node: Schema, definitions: Schema) -> Schema:
    """The node without references and without null; what stands beside a reference is about this field and wins."""
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        node = branches[0] | {key: value for key, value in node.items() if key != "anyOf"}
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    return node


def _type(node: Schema, definitions: Schema) -> str:
    node = _resolved(node, definitions)
    if "anyOf" in node:
        kinds = [str(branch.get("const", branch["type"])) for branch in node["anyOf"]]
        return "any scalar" if "boolean" in kinds else " or ".join(kinds)
    if "items" in node:
        return f"list of {_type(node['items'], definitions)}"
    values = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
    return f"map to {_type(values, definitions)}" if isinstance(values, dict) else str(node["type"])


def _default(node: Schema) -> str:
    value = node.get("default")
    return "–" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _bounds(node: Schema) -> list[str]:
    """What bounds a value, in words."""
    number = next((branch for branch in node.get("anyOf", ()) if branch.get("type") == "integer"), node)
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {number[key]}" for key, sign in signs.items() if key in number]
    for unit, noun in (("Length", "characters"), ("Items", "items"), ("Properties", "keys")):
        if f"max{unit}" in node:
            low, high = node.get(f"min{unit}", 0), node[f"max{unit}"]
            bounds.append(f"{low} {noun}" if low == high else f"{low} to {high} {noun}")
    is_shown = "pattern" in node and not _SCHEMES.match(node["pattern"])
    return [*bounds, f"`{node['pattern']}`"] if is_shown else bounds


def _refused(spec: Schema) -> set[str]:
    return {error.path.removeprefix("spec.") for error in unavailable_fields(FineTuneJobSpec.model_validate(spec))}


def _is_refused(path: str, choice: str) -> bool:
    try:
        return bool(_refused(set_at(_PLAIN, parse_path(path), choice)))
    except (ValidationError, ValueError):  # it needs a neighbour (last-n its depth), or is an item of a list
        return False


def _is_within(path: str, blocks: set[str]) -> bool:
    return any(path == block or path.startswith((f"{block}.", f"{block}[")) for block in blocks)


def reference_text() -> str:
    """The file's content."""
    sections: dict[str, list[Field]] = {"spec": []}
    fields = fields_of(FineTuneJobSpec)
    for field in fields:
        top = field.path.partition(".")[0]
        is_block = any(other.path.startswith(f"{top}.") for other in fields)
        sections.setdefault(f"spec.{top}" if is_block else "spec", []).append(field)
    tables = [f"## {title}\n\n{_HEADER}{''.join(map(_row, rows))}" for title, rows in sections.items()]
    status = [_cells(f"`{each.path}`", each.type, each.description) for each in fields_of(FineTuneJobStatus)]
    return "\n".join([_INTRODUCTION, *tables, _STEPS + "\n".join(_step_tables()), _STATUS + "".join(status)])


def _step_tables() -> Iterator[str]:
    """A table for each list of steps that a task has."""
    rows = "".join(_step_row(step, model) for step, model in CLEANING.items())
    yield f"### clean, of every task with rows\n\n| step | options | meaning |\n|---|---|---|\n{rows}"
    for name, task in TASKS.items():
        for of, steps in (("features", task.features), ("augment", task.augmentation)):
            if steps:
                rows = "".join(_step_row(step, model) for step, model in steps.items())
                yield f"### {of} of {name}\n\n| step | options | meaning |\n|---|---|---|\n{rows}"


def _step_row(step: str, model: type[SchemaModel]) -> str:
    options = [
        f"`{field.path}` ({', '.join(each for each in (field.default, field.range) if each != '–')}): "
        f"{field.description.rstrip('.')}"
        for field in fields_of(model)
    ]
    return _cells(f"`{step}`", "; ".join(options) or "–", inspect.getdoc(model) or "")


def _row(field: Field) -> str:
    which = "" if field.unavailable == "all" else f": {field.unavailable}"
    note = f" *not available yet{which}*" if field.unavailable else ""
    return _cells(f"`{field.path}`", field.type, field.default, field.range, field.description + note)


def _cells(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"
