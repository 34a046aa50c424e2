"""Reading a manifest: text to FineTuneJob, with every error at once, each with its field's path."""

import json
import math
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from thaw_api.availability import unavailable_fields
from thaw_api.field_error import FieldError, InvalidManifest
from thaw_api.job import KIND, FineTuneJob, FineTuneJobSpec
from thaw_api.paths import parse_path, set_at
from thaw_api.schedule_errors import schedule_errors
from thaw_api.search_space import search_errors
from thaw_api.task_errors import task_errors
from thaw_api.tasks import TASKS
from thaw_api.validation_errors import field_errors
from thaw_api.yaml_text import read_documents, read_scalar


def read_jobs(path: Path, overrides: list[str] | None = None) -> list[FineTuneJob]:
    """All FineTuneJobs of a manifest file, each checked by everything that needs neither model nor data.

    Args:
        overrides: `path=value` texts, the path from the spec on, the value as YAML writes it.

    Raises:
        InvalidManifest: with every error that was found.
    """
    try:
        documents = read_documents(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidManifest([FieldError(str(path), "no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidManifest([FieldError(str(path), f"cannot be read: {error}")]) from None
    except yaml.YAMLError as error:
        raise InvalidManifest([FieldError(str(path), f"is not YAML: {' '.join(str(error).split())}")]) from None
    if not documents:
        raise InvalidManifest([FieldError(str(path), f"holds no {KIND}")])
    return [read_job(document, overrides) for document in documents]


def read_job(document: Any, overrides: list[str] | None = None) -> FineTuneJob:
    """The FineTuneJob that a YAML document describes; raises InvalidManifest with every error."""
    if not isinstance(document, dict):
        raise InvalidManifest([FieldError("", f"a {KIND} is a mapping, found {type(document).__name__}")])
    document = _with_overrides(document, overrides or [])
    try:
        job = FineTuneJob.model_validate_json(json.dumps(_as_json(document)))
    except ValidationError as error:
        raise InvalidManifest(field_errors(error, FineTuneJob)) from None
    errors = spec_errors(job.spec)
    if errors:
        raise InvalidManifest(errors)
    return job


def spec_errors(spec: FineTuneJobSpec) -> list[FieldError]:
    """What is wrong with a well-formed spec, as far as it can be told without model and data."""
    unavailable = unavailable_fields(spec)
    if spec.task not in TASKS:
        return unavailable
    return [*unavailable, *task_errors(spec), *schedule_errors(spec), *search_errors(spec)]


def _with_overrides(document: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    for override in overrides:
        path, separator, value = override.partition("=")
        if not separator:
            raise InvalidManifest([FieldError("--set", f"write path=value; found {override!r}")])
        try:
            parsed = parse_path(path)
            document = set_at(document, parsed if parsed[0] == "spec" else ("spec", *parsed), read_scalar(value))
        except (ValueError, yaml.YAMLError) as error:
            raise InvalidManifest([FieldError("--set", str(error))]) from None
        except KeyError as error:
            raise InvalidManifest([FieldError("--set", f"{path}: the manifest has no {error.args[0]}")]) from None
    return document


def _as_json(value: Any) -> Any:
    """YAML's values as JSON has them: keys are text, a number is finite."""
    if isinstance(value, dict):
        # A key that YAML reads as a boolean (yes, on) is text again in JSON, in JSON's spelling.
        return {json.dumps(key) if isinstance(key, bool) else str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and value.is_integer() and math.isfinite(value) and abs(value) < 2**53:
        # kubectl sends 4.0 as 4, so an integer field takes it.
        return int(value)
    return value
