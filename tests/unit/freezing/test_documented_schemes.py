"""What docs/freezing.md writes down is what thaw reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job, phase
from tests.unit.freezing.test_selectors import layout_of
from thaw_api import read_job
from thaw_api.freezing import FreezingSpec, PhaseSpec, Preset
from thaw_api.triggers import UntilSpec
from thaw_api.yaml_text import read_documents
from thaw_trainer.freezing.schedule import resolve_schedule

PAGE = (Path(__file__).parents[3] / "docs/freezing.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def cells(title: str, column: int) -> list[str]:
    rows = [line.split(" | ") for line in section(title).splitlines() if line.startswith("| ")]
    return [row[column].strip("| ") for row in rows[1:]]


def written(title: str, column: int) -> list[tuple[str, dict[str, Any]]]:
    """Every piece of YAML in a column."""
    codes = [code for cell in cells(title, column) for code in re.findall(r"`([a-zA-Z]+: [^`]*)`", cell)]
    return [(code, read_documents(f"{{{code}}}")[0]) for code in codes]


SCHEMES = written("How each scheme is written here", 1)


def test_every_scheme_has_yaml() -> None:
    assert all("`" in cell for cell in cells("How each scheme is written here", 1))
    assert len(SCHEMES) > 20


@pytest.mark.parametrize("fields", [fields for _, fields in SCHEMES], ids=[code for code, _ in SCHEMES])
def test_every_scheme_is_a_valid_schedule(fields: dict[str, Any]) -> None:
    if fields.keys() & {"preset", "phases", "frozenNorms"}:
        spec = read_job(job({"freezing": fields, "training.epochs": 12})).spec
        assert resolve_schedule(spec.freezing, spec.training, layout_of(12))
    else:
        assert read_job(job({"freezing.phases": [phase(**fields)]}))


@pytest.mark.parametrize("code", [code for code, _ in written("Triggers", 0)])
def test_every_trigger_is_one(code: str) -> None:
    assert UntilSpec.model_validate(read_documents(f"{{{code}}}")[0]).any_of


def test_every_trigger_is_in_the_table() -> None:
    assert {name for _, fields in written("Triggers", 0) for name in fields} == set(UntilSpec.model_fields)


def test_every_preset_is_in_the_table() -> None:
    told = {name for cell in cells("Presets", 0) for name in re.findall(r"`([a-z-]+)`", cell)}
    assert told == set(Preset.__args__)  # type: ignore[attr-defined]


def test_every_field_of_a_phase_is_told() -> None:
    told = {name for cell in cells("Phases of your own", 0) for name in re.findall(r"`([a-zA-Z]+)`", cell)}
    fields = {field.alias or name for name, field in PhaseSpec.model_fields.items()}
    assert told == fields - {"name", "train", "until"}


@pytest.mark.parametrize("title", ["Phases of your own", "Blocks in turns"])
def test_the_examples_are_valid(title: str) -> None:
    text = section(title).split("```yaml\n")[1].split("```")[0]
    phases = re.sub(r"(?s).*phases:\n", "", text)
    assert FreezingSpec.model_validate({"phases": read_documents(phases)[0]})
