"""What trials of earlier runs came to, for a search of the same space."""

import json
from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search import ParameterSpec
from thaw_api.search_space import objective
from thaw_trainer.errors import WARM_START_INVALID, TrainerError
from thaw_trainer.search.points import Point
from thaw_trainer.uris import UriRoots, resolve_run


def earlier_points(spec: FineTuneJobSpec, roots: UriRoots) -> list[tuple[Point, float]]:
    """The values that each trial of `search.warmStart` had, and its objective; trials that have none are left out.

    Raises:
        TrainerError: DataNotFound, or WarmStartInvalid: the run searched another space or by another objective.
    """
    found = []
    for index, uri in enumerate(spec.search.warm_start or ()):
        field = f"spec.search.warmStart[{index}]"
        found += _points_of(spec, resolve_run(uri, field, roots), field)
    return found


def _points_of(spec: FineTuneJobSpec, folder: Path, field: str) -> list[tuple[Point, float]]:
    metric, mode = objective(spec)
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        theirs, trials = result["objective"], result["trials"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainerError(WARM_START_INVALID, f"{folder}: result.json is no run's: {error!r}", field) from error
    if (theirs["metric"], theirs["mode"]) != (metric, mode):
        raise TrainerError(
            WARM_START_INVALID,
            f"{folder} was searched by {theirs['metric']} ({theirs['mode']}); this search is by {metric} ({mode})",
            field,
        )
    found = []
    for trial in trials:
        value = trial["metrics"].get(metric)
        if trial["state"] == "failed" or value is None:
            continue
        point: dict[str, Any] = trial["parameters"]
        _check(spec.search.parameters or [], point, f"{folder}: {trial['name']}", field)
        found.append((point, float(value)))
    if not found:
        raise TrainerError(WARM_START_INVALID, f"{folder} has no trial with a value of {metric}", field)
    return found


def _check(parameters: list[ParameterSpec], point: Point, trial: str, field: str) -> None:
    paths = {parameter.path for parameter in parameters}
    if point.keys() != paths:
        raise TrainerError(
            WARM_START_INVALID,
            f"{trial} has values of {_listed(point)}; this search is over {_listed(paths)}",
            field,
        )
    for parameter in parameters:
        if not holds(parameter, point[parameter.path]):
            raise TrainerError(
                WARM_START_INVALID,
                f"{trial} has {parameter.path} = {point[parameter.path]!r}, which this search does not try",
                field,
            )


def holds(parameter: ParameterSpec, value: Scalar) -> bool:
    """Whether a value is one that a parameter may take."""
    if parameter.choice:
        return any(
            value == each and isinstance(value, bool) == isinstance(each, bool) for each in parameter.choice.values
        )
    if isinstance(value, (bool, str)):
        return False
    if parameter.int:
        inside = parameter.int.min <= value <= parameter.int.max
        return inside and (value - parameter.int.min) % (parameter.int.step or 1) == 0
    arm = parameter.log_uniform or parameter.uniform
    assert arm is not None
    return arm.min <= value <= arm.max


def _listed(paths: Any) -> str:
    return ", ".join(sorted(paths)) or "nothing"
