"""`evaluation.require`."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests import errors_of
from thaw_api.thresholds import read_threshold, unmet


@given(st.sampled_from([">=", "<=", ">", "<"]), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_a_threshold_is_read_as_python_reads_it(sign: str, number: float, value: float) -> None:
    assert read_threshold(f"{sign} {number!r}").is_met(value) == eval(f"value {sign} number")  # noqa: S307


@pytest.mark.parametrize("text", ["0.9", "= 0.9", ">= ", ">= high", ">= 0.9 and more", "=> 1", ">= 1.2.3"])
def test_what_is_no_threshold_is_refused_by_its_field(text: str) -> None:
    (error,) = errors_of({"evaluation.require": {"accuracy": text}})
    assert error.path.startswith("spec.evaluation.require")


def test_a_metric_that_the_task_does_not_have_is_refused() -> None:
    (error,) = errors_of({"evaluation.require": {"bleu": "> 20"}})
    assert error.path == "spec.evaluation.require.bleu"
    assert "has no metric 'bleu'" in error.message


def test_each_metric_that_does_not_reach_it_is_told() -> None:
    require = {"accuracy": ">= 0.9", "loss": "<1", "f1": "> 0", "mcc": ">= -1"}
    metrics = {"accuracy": 0.85, "loss": 0.5, "f1": math.nan}
    assert unmet(require, metrics) == ["accuracy is 0.85, not >= 0.9", "f1 is nan, not > 0", "mcc is nan, not >= -1"]
    assert unmet(None, metrics) == []
