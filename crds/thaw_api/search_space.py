"""What a search means: its objective, its number of trials, and the spec of one trial."""

from itertools import product
from math import prod
from typing import Any

from pydantic import ValidationError

from thaw_api.availability import unavailable_fields
from thaw_api.field_error import FieldError
from thaw_api.job import FineTuneJobSpec
from thaw_api.paths import format_path, parse_path, set_at
from thaw_api.schedule_errors import schedule_errors
from thaw_api.schema_model import Scalar
from thaw_api.search import ParameterSpec
from thaw_api.task_errors import task_errors
from thaw_api.tasks import Mode
from thaw_api.validation_errors import field_errors

DEFAULT_TRIALS = 10


def objective(spec: FineTuneJobSpec) -> tuple[str, Mode]:
    """Metric and direction that trials and epochs are compared by."""
    task = spec.task_entry
    metric = spec.search.objective.metric or task.objective
    return metric, spec.search.objective.mode or task.metrics.get(metric, "max")


def trial_count(spec: FineTuneJobSpec) -> int:
    """How many trials the search runs at most."""
    parameters = spec.search.parameters or []
    if not parameters:
        return 1
    if spec.search.algorithm.name == "grid":
        combinations = prod(len(parameter.choice.values) for parameter in parameters if parameter.choice)
        return min(combinations, spec.search.trials or combinations)
    return spec.search.trials or DEFAULT_TRIALS


def grid_points(parameters: list[ParameterSpec]) -> list[dict[str, Scalar]]:
    """Every combination of choices, the last parameter moving fastest."""
    values = [parameter.choice.values if parameter.choice else [] for parameter in parameters]
    return [dict(zip((parameter.path for parameter in parameters), point, strict=True)) for point in product(*values)]


def trial_spec(spec: FineTuneJobSpec, parameters: dict[str, Scalar]) -> FineTuneJobSpec:
    """The spec of one trial: the job's, with the searched paths set.

    Raises:
        pydantic.ValidationError: the values together make no valid spec.
        KeyError: a path names a list item that the spec does not have.
    """
    tree = spec.manifest()
    for path, value in parameters.items():
        tree = set_at(tree, parse_path(path), value)
    return FineTuneJobSpec.model_validate(tree)


def searched_values(parameter: ParameterSpec) -> list[Scalar]:
    """Values whose validity stands for all: every choice, or both ends of a range."""
    _, domain = parameter.arm()
    return list(domain.values) if parameter.choice else [domain.min, domain.max]


def search_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """Searched paths that the spec does not have, and values that they may not take."""
    errors: list[FieldError] = []
    for index, parameter in enumerate(spec.search.parameters or ()):
        where = f"spec.search.parameters[{index}]"
        for value in searched_values(parameter):
            problem = _problem(spec, parameter.path, value)
            if problem:
                errors.append(FieldError(where, f"path {parameter.path} with value {value!r}: {problem}"))
                break
    return errors


def _problem(spec: FineTuneJobSpec, path: str, value: Scalar) -> str | None:
    try:
        trial = trial_spec(spec, {path: value})
    except ValueError as error:
        if isinstance(error, ValidationError):
            return "; ".join(str(each) for each in field_errors(error, FineTuneJobSpec))
        return str(error)
    except KeyError as error:
        return f"matches nothing: this spec has no {error.args[0]}"
    # What the job itself may not use or write, a trial may not either.
    known, found = ([*unavailable_fields(each), *task_errors(each), *schedule_errors(each)] for each in (spec, trial))
    return "; ".join(str(each) for each in found if each not in known) or None


def assignment_text(parameters: dict[str, Any]) -> str:
    """A trial's values in one line, each by the end of its path: `lr=0.0003 depth=2`."""
    return " ".join(
        f"{format_path(parse_path(path)[-1:]) if isinstance(parse_path(path)[-1], str) else path}={_short(value)}"
        for path, value in parameters.items()
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
