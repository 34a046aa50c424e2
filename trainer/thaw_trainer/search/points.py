"""Which values the next trial takes: grid, random, or Optuna's TPE through Ray Tune's OptunaSearch."""

from math import exp, log
from typing import Any, Protocol

import numpy as np

from thaw_api.job import FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search import ParameterSpec
from thaw_api.search_space import grid_points, objective, trial_count
from thaw_api.tasks import Mode

Point = dict[str, Scalar]


class Points(Protocol):
    """A source of points. What is told may come in any order; `suggest` is called once for each ordinal."""

    def suggest(self, ordinal: int) -> Point | None:
        """The point of a trial, or None when there is no further one."""

    def peek(self, ordinal: int) -> Point | None:
        """The point that a later trial will have, if that is certain already."""

    def tell(self, ordinal: int, point: Point, value: float | None) -> None:
        """A trial's best objective; None when it failed."""


class GridPoints:
    """Every combination of choices, in order."""

    def __init__(self, parameters: list[ParameterSpec]) -> None:
        self._points = grid_points(parameters)

    def suggest(self, ordinal: int) -> Point | None:
        """See Points."""
        return self._points[ordinal] if ordinal < len(self._points) else None

    def peek(self, ordinal: int) -> Point | None:
        """See Points."""
        return self.suggest(ordinal)

    def tell(self, ordinal: int, point: Point, value: float | None) -> None:
        """A grid learns nothing."""


class RandomPoints:
    """Points that depend on seed and ordinal alone, so that a resumed search tries what it would have tried."""

    def __init__(self, parameters: list[ParameterSpec], seed: int) -> None:
        self._parameters, self._seed = parameters, seed

    def suggest(self, ordinal: int) -> Point | None:
        """See Points."""
        random = np.random.default_rng((self._seed, ordinal))
        return {parameter.path: _draw(parameter, random) for parameter in self._parameters}

    def peek(self, ordinal: int) -> Point | None:
        """See Points."""
        return self.suggest(ordinal)

    def tell(self, ordinal: int, point: Point, value: float | None) -> None:
        """Random search learns nothing."""


def _draw(parameter: ParameterSpec, random: np.random.Generator) -> Scalar:
    if parameter.choice:
        return parameter.choice.values[int(random.integers(len(parameter.choice.values)))]
    if parameter.int:
        step = parameter.int.step or 1
        return parameter.int.min + step * int(random.integers((parameter.int.max - parameter.int.min) // step + 1))
    if parameter.log_uniform:
        return exp(random.uniform(log(parameter.log_uniform.min), log(parameter.log_uniform.max)))
    assert parameter.uniform is not None
    return float(random.uniform(parameter.uniform.min, parameter.uniform.max))


class TpePoints:
    """Optuna's tree-structured Parzen estimator. What is known is told first, and the sampler's seed counts it, so
    that a resumed search does not suggest the same points again."""

    def __init__(self, parameters: list[ParameterSpec], mode: Mode, seed: int, trials: int, known: int) -> None:
        from optuna.logging import WARNING, set_verbosity
        from optuna.samplers import TPESampler
        from ray.tune.search.optuna import OptunaSearch

        set_verbosity(WARNING)
        startup = max(3, min(10, trials // 4))
        sampler = TPESampler(seed=seed + known, n_startup_trials=startup, constant_liar=True)
        space = {parameter.path: _distribution(parameter) for parameter in parameters}
        self._search = OptunaSearch(space=space, metric="objective", mode=mode, sampler=sampler)
        self._asked: set[int] = set()

    def suggest(self, ordinal: int) -> Point | None:
        """See Points."""
        self._asked.add(ordinal)
        point: Point = self._search.suggest(str(ordinal))
        return point

    def peek(self, ordinal: int) -> Point | None:
        """Nothing: later points depend on earlier results."""

    def tell(self, ordinal: int, point: Point, value: float | None) -> None:
        """See Points."""
        if ordinal in self._asked:
            result = {"objective": value} if value is not None else None
            self._search.on_trial_complete(str(ordinal), result, error=value is None)
        elif value is not None:
            self._search.add_evaluated_point(point, value)


def _distribution(parameter: ParameterSpec) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.choice:
        return CategoricalDistribution(parameter.choice.values)
    if parameter.int:
        return IntDistribution(parameter.int.min, parameter.int.max, step=parameter.int.step or 1)
    if parameter.log_uniform:
        return FloatDistribution(parameter.log_uniform.min, parameter.log_uniform.max, log=True)
    assert parameter.uniform is not None
    return FloatDistribution(parameter.uniform.min, parameter.uniform.max)


def points_of(spec: FineTuneJobSpec, known: int) -> Points:
    """The source of points that a spec asks for; `known` trials of it have begun already."""
    parameters = spec.search.parameters or []
    if spec.search.algorithm.name == "grid":
        return GridPoints(parameters)
    if spec.search.algorithm.name == "tpe" and parameters:
        return TpePoints(parameters, objective(spec)[1], spec.search.seed, trial_count(spec), known)
    return RandomPoints(parameters, spec.search.seed)
