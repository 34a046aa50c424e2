"""Fields of an adapter that its method does not have are refused, each by its path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests import errors_of, parameter

OTHERS: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.1}


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_ia3_has_nothing_of_low_rank(name: str, value: float) -> None:
    (error,) = errors_of({"model.adapter": {"method": "ia3", name: value}})
    assert str(error) == f"spec.model.adapter.{name}: ia3 has no {name}; lora, qlora and dora have"
    assert errors_of({"model.adapter": {"method": "dora", name: value}}) == []


def test_all_that_ia3_does_not_have_is_told_at_once() -> None:
    errors = errors_of({"model.adapter": {"method": "ia3", **OTHERS, "targets": ["query"]}})
    assert {error.path for error in errors} == {f"spec.model.adapter.{name}" for name in OTHERS}


def test_a_trial_may_not_give_ia3_a_rank() -> None:
    methods = parameter("model.adapter.method", choice={"values": ["lora", "ia3"]})
    assert errors_of({"model.adapter": {"method": "lora"}, "search.parameters": [methods]}) == []
    (error,) = errors_of({"model.adapter": {"method": "lora", "rank": 4}, "search.parameters": [methods]})
    assert error.path == "spec.search.parameters[0]"
    assert "model.adapter.rank: ia3 has no rank" in error.message
