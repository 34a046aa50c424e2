"""docs/reference.md: nothing of the resource is missing from it, and it says what this version does not do yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.api.test_availability import AVAILABLE, UNAVAILABLE
from thaw_api.crd import object_schema
from thaw_api.job import FineTuneJobSpec
from thaw_api.reference import Field, fields_of, reference_text
from thaw_api.status import FineTuneJobStatus
from thaw_api.structural_schema import walk

FILE = Path(__file__).resolve().parents[3] / "docs" / "reference.md"
SPEC = {field.path: field for field in fields_of(FineTuneJobSpec)}
STATUS = {field.path: field for field in fields_of(FineTuneJobStatus)}


def schema_paths(part: str) -> set[str]:
    """Every field of the CRD's schema below `spec` or `status`; what an item or a value is has no name of its own."""
    found: set[str] = set()
    walk(object_schema()["properties"][part], lambda path, _: found.add(path))
    return {path for path in found if path and not path.endswith(("[]", "{}"))}


def field(path: str) -> Field:
    return SPEC[path]


def test_the_file_is_what_the_models_say() -> None:
    assert FILE.read_text(encoding="utf-8") == reference_text(), "run `make generate`"


def test_every_field_of_the_schema_is_there() -> None:
    assert SPEC.keys() == schema_paths("spec")
    assert STATUS.keys() == schema_paths("status")
    text = reference_text()
    for path in [*SPEC, *STATUS]:
        assert f"| `{path}` | " in text


def test_every_field_says_what_it_means() -> None:
    assert [each.path for each in [*SPEC.values(), *STATUS.values()] if not each.description] == []


@pytest.mark.parametrize(
    ("path", "kind", "default", "limits"),
    [
        ("training.batchSize", "integer", "`32`", "≥ 1; ≤ 1048576"),
        ("training.optimizer.lr", "number", "`3e-05`", "> 0; ≤ 10"),
        ("training.optimizer.betas", "list of number", "–", "2 items"),
        ("search.parallel", "integer or auto", "`auto`", "≥ 1; ≤ 1024"),
        ("search.parameters[].path", "string", "required", "1 to 253 characters"),
        ("search.parameters[].choice.values", "list of any scalar", "required", "1 to 64 items"),
        ("search.scheduler.reductionFactor", "integer", "`3`", "≥ 2; ≤ 16"),
        ("freezing.phases[].lr.decay", "number", "`1.0`", "≥ 1; ≤ 100"),
        ("cluster.workers.resources", "map to string or integer", "–", "0 to 16 keys"),
        ("data.columns", "map to string", "–", "0 to 16 keys"),
        ("suspend", "boolean", "`false`", "–"),
    ],
)
def test_a_field_has_type_default_and_range(path: str, kind: str, default: str, limits: str) -> None:
    assert (field(path).type, field(path).default) == (kind, default)
    assert field(path).range.partition("; `")[0] == limits


@pytest.mark.parametrize("path", [row[2].removeprefix("spec.") for row in UNAVAILABLE])
def test_a_block_that_is_refused_is_marked_with_all_that_is_in_it(path: str) -> None:
    inside = [each for each in SPEC.values() if each.path.startswith((f"{path}.", f"{path}["))]
    assert [each.path for each in [field(path), *inside] if not each.unavailable] == []


@pytest.mark.parametrize("path", [path for path, values in AVAILABLE.items() if values])
def test_a_choice_lists_what_is_taken_and_marks_the_rest(path: str) -> None:
    shown = field(path.removeprefix("spec."))
    assert {value.strip("`") for value in shown.range.split(", ")} == AVAILABLE[path]
    assert not {f"`{value}`" for value in AVAILABLE[path]} & set(shown.unavailable.split(", "))


def test_a_uri_lists_the_schemes_that_are_taken() -> None:
    assert field("model.uri").range == "1 to 1024 characters; `hf:`, `pkg:`, `file:`, `torchvision:`, `timm:`, `pvc:`"
    assert field("model.uri").unavailable == "`s3:`, `gs:`, `job:`"


def test_nothing_else_is_marked() -> None:
    blocks = tuple(row[2].removeprefix("spec.") for row in UNAVAILABLE)
    marked = {each.path for each in SPEC.values() if each.unavailable == "all" and not each.path.startswith(blocks)}
    assert marked == {"cluster.workers.max"}


def test_a_bar_in_a_pattern_does_not_end_the_cell() -> None:
    rows = [line for line in reference_text().splitlines() if line.startswith("| `freezing.cache.budget`")]
    assert [len(row.replace("\\|", "").strip("|").split("|")) for row in rows] == [5]
