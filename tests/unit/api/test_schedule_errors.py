"""Schedules that cannot do what they say, found without model and data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests import errors_of, parameter, phase
from thaw_api.schedule_errors import epochs_of


def phases(*untils: dict[str, Any], epochs: int = 10) -> dict[str, Any]:
    return {
        "freezing.phases": [phase(f"p{index}", until=until) for index, until in enumerate(untils)],
        "training.epochs": epochs,
    }


@pytest.mark.parametrize(
    "untils",
    [
        [{"fraction": 0.5}, {"fraction": 0.5}],
        [{"fraction": 0.5}, {"fraction": 0.3}],
        [{"epochs": 4}, {"fraction": 0.4}],
        [{"epochs": 4}, {"epochs": 3, "fraction": 0.4}],
        [{"epochs": 2, "plateau": {"patience": 3}}, {"fraction": 0.2}],
        [{"plateau": {"patience": 3}}, {"fraction": 0.3}],
        [{"metric": {"above": 0.5}}, {"fraction": 0.1}],
        [{"time": "1h"}, {"fraction": 0.1}],
        [{"all": [{"epochs": 1}, {"epochs": 3}]}, {"fraction": 0.3}],
    ],
)
def test_a_phase_that_begins_after_its_own_end_is_refused(untils: list[dict[str, Any]]) -> None:
    (error,) = errors_of(phases(*untils))
    assert error.path == "spec.freezing.phases[1].until.fraction"
    assert "is over before the phase begins" in error.message


@pytest.mark.parametrize(
    "untils",
    [
        [{"fraction": 0.5}, {"fraction": 0.6}],
        [{"epochs": 4, "plateau": {}}, {"fraction": 0.2}],
        [{"steps": 1000}, {"fraction": 0.1}],
        [{"plateau": {"patience": 3}, "metric": {"above": 0.1}}, {"fraction": 0.3}],
        [{"epochs": 10}, {"fraction": 0.5}],
        [{"epochs": 99}, {"epochs": 1}, {"fraction": 1.0}],
        [{"epochs": 3}, {"all": [{"fraction": 0.1}, {"plateau": {}}]}],
    ],
)
def test_a_phase_that_may_begin_in_time_or_is_never_reached_is_not(untils: list[dict[str, Any]]) -> None:
    assert errors_of(phases(*untils)) == []


def test_a_searched_cap_that_makes_a_phase_too_late_is_refused_at_the_parameter() -> None:
    changes = phases({"epochs": 2}, {"fraction": 0.5}, {"fraction": 1.0}, epochs=8)
    assert errors_of(changes) == []
    searched = {"search.parameters": [parameter("training.epochs", choice={"values": [8, 4]})]}
    (error,) = errors_of(changes | searched)
    assert error.path == "spec.search.parameters[0]"
    assert "with value 4" in error.message
    assert "is over before the phase begins" in error.message


def test_a_lowest_rate_above_the_base_is_refused() -> None:
    own = {"freezing.phases": [phase(lr={"base": 0.01, "lowest": 0.02})]}
    assert [error.path for error in errors_of(own)] == ["spec.freezing.phases[0].lr.lowest"]
    of_run = {"freezing": {"preset": "gradual", "lr": {"lowest": 0.02}}, "training.optimizer.lr": 0.01}
    assert [error.path for error in errors_of(of_run)] == ["spec.freezing.lr.lowest"]
    assert errors_of(of_run | {"training.optimizer.lr": 0.02}) == []


@pytest.mark.parametrize(
    ("own", "path", "message"),
    [
        ({"until": {"steps": 0}}, "until.steps", "must be greater than or equal to 1"),
        ({"until": {"time": "0s"}}, "until.time", "pattern"),
        ({"until": {"time": "0h5m"}}, "until.time", "pattern"),
        ({"until": {"all": []}}, "until.all", "at least 1"),
        ({"until": {"all": [{"steps": 1, "epochs": 1}]}}, "until.all[0]", "an entry of all is exactly one of"),
        ({"until": {"all": [{}]}}, "until.all[0]", "an entry of all is exactly one of"),
        ({"until": {"metric": {"name": "f1"}}}, "until.metric", "exactly one of above and below"),
        ({"until": {"metric": {"above": 1, "below": 0}}}, "until.metric", "exactly one of above and below"),
        ({"until": {"metric": {"name": "wer", "above": 1}}}, "until.metric.name", "has no metric 'wer'"),
        (
            {"until": {"all": [{"steps": 1}, {"plateau": {"metric": "wer"}}]}},
            "until.all[1].plateau.metric",
            "has no metric 'wer'",
        ),
        ({"rotate": {"blocks": 1, "every": {}}}, "rotate.every", "exactly one of steps and epochs"),
        ({"rotate": {"blocks": 0, "every": {"steps": 1}}}, "rotate.blocks", "greater than or equal to 1"),
        ({"rotate": {"blocks": 1, "every": {"steps": 0}}}, "rotate.every.steps", "greater than or equal to 1"),
        (
            {"rotate": {"blocks": 1, "every": {"steps": 1}}, "adaptive": {"every": {"steps": 1}}},
            "",
            "adaptive and rotate exclude each other",
        ),
        ({"adaptive": {"every": {"steps": 1, "epochs": 1}}}, "adaptive.every", "exactly one of steps and epochs"),
        ({"adaptive": {"every": {"steps": 1}, "percentile": 101}}, "adaptive.percentile", "less than or equal to 100"),
        ({"lr": {"lowest": 1e-5, "decay": 2.0}}, "lr", "lowest and decay exclude each other"),
        ({"lr": {"groups": [{"select": ["head"]}]}}, "lr.groups[0].base", "required"),
    ],
)
def test_a_phase_that_makes_no_sense_by_itself_is_refused_at_its_field(
    own: dict[str, Any], path: str, message: str
) -> None:
    (error,) = errors_of({"freezing.phases": [phase(**own)]})
    assert error.path == f"spec.freezing.phases[0].{path}".rstrip(".")
    assert message in error.message


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_share_of_epochs_is_rounded_up_exactly(percent: int, epochs: int) -> None:
    assert epochs_of(percent / 100, epochs) == -(-epochs * percent // 100)
