from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.manifests import job, parameter, phase
from thaw_api import FineTuneJobSpec
from thaw_api.search import ParameterSpec
from thaw_api.search_space import assignment_text, grid_points, objective, trial_count, trial_spec

SCALARS = st.integers(-9, 9) | st.floats(0, 1) | st.booleans() | st.text("ab", max_size=3)
CHOICES = st.lists(st.lists(SCALARS, min_size=1, max_size=3), max_size=4)


def spec(changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(job(changes)["spec"])


def parameters(choices: list[list[Any]]) -> list[ParameterSpec]:
    """One parameter for each list of values."""
    return [
        ParameterSpec.model_validate(parameter(f"training.p{index}", choice={"values": values}))
        for index, values in enumerate(choices)
    ]


@given(CHOICES)
def test_a_grid_has_every_combination_once_for_each_way_to_choose_it(choices: list[list[Any]]) -> None:
    points = grid_points(parameters(choices))
    assert len(points) == prod(len(values) for values in choices)
    for index, values in enumerate(choices):
        share = len(points) // len(values)
        found = Counter((type(point[f"training.p{index}"]), point[f"training.p{index}"]) for point in points)
        assert found == {kind: share * times for kind, times in Counter((type(v), v) for v in values).items()}


def test_the_last_parameter_of_a_grid_moves_fastest() -> None:
    points = grid_points(parameters([[1, 2], ["a", "b"]]))
    assert [tuple(point.values()) for point in points] == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]


def test_without_parameters_a_grid_is_one_trial() -> None:
    assert grid_points([]) == [{}]


@pytest.mark.parametrize(
    ("search", "trials"),
    [
        ({}, 1),
        ({"trials": 5}, 1),
        ({"parameters": [parameter()]}, 10),
        ({"parameters": [parameter()], "trials": 3}, 3),
        ({"parameters": [parameter(), parameter("training.seed")], "algorithm": {"name": "grid"}}, 4),
        ({"parameters": [parameter()], "algorithm": {"name": "grid"}, "trials": 1}, 1),
        ({"parameters": [parameter()], "algorithm": {"name": "grid"}, "trials": 99}, 2),
    ],
)
def test_the_number_of_trials_follows_from_the_search(search: dict[str, Any], trials: int) -> None:
    assert trial_count(spec({"search": search})) == trials


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ({}, ("accuracy", "max")),
        ({"metric": "loss"}, ("loss", "min")),
        ({"metric": "f1"}, ("f1", "max")),
        ({"metric": "loss", "mode": "max"}, ("loss", "max")),
    ],
)
def test_the_objective_is_the_tasks_own_unless_the_spec_says_otherwise(
    wanted: dict[str, str], meant: tuple[str, str]
) -> None:
    assert objective(spec({"search.objective": wanted})) == meant


def test_a_trial_is_the_job_with_the_searched_paths_set() -> None:
    base = spec({"training.epochs": 4, "freezing.phases": [phase("head"), phase("top")]})
    trial = trial_spec(base, {"training.optimizer.lr": 0.01, "freezing.phases[1].train[0]": "blocks[-2:]"})
    assert trial.training.optimizer.lr == 0.01
    assert [each.train for each in trial.freezing.phases or ()] == [["head"], ["blocks[-2:]"]]
    assert base.training.optimizer.lr != 0.01
    assert trial_spec(trial, {"training.optimizer.lr": 3e-5, "freezing.phases[1].train[0]": "head"}) == base


def test_a_trial_without_parameters_is_the_job() -> None:
    base = spec({"training.earlyStopping": {}, "freezing": {"preset": "gradual"}})
    assert trial_spec(base, {}) == base


def test_a_trial_may_set_what_the_job_leaves_out() -> None:
    trial = trial_spec(spec(), {"model.head.dropout": 0.3, "training.earlyStopping.patience": 4})
    assert trial.model.head.dropout == 0.3
    assert trial.training.early_stopping is not None
    assert trial.training.early_stopping.patience == 4


def test_values_that_make_no_valid_spec_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="must be a multiple"):
        trial_spec(spec(), {"training.batchSize": 30, "training.gradientAccumulation": 4})


def test_a_list_item_that_the_spec_does_not_have_is_named() -> None:
    with pytest.raises(KeyError, match=r"freezing\.phases"):
        trial_spec(spec(), {"freezing.phases[0].name": "a"})


def test_a_trials_values_are_shown_by_the_end_of_their_path() -> None:
    values = {"training.optimizer.lr": 0.000312345, "model.head.dropout": 0.1, "freezing.phases[0].train[0]": "head"}
    assert assignment_text(values) == "lr=0.000312 dropout=0.1 freezing.phases[0].train[0]=head"
