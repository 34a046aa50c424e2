"""Printing outcomes as text, JSON, YAML or names; errors go to standard error, each with its field."""

import json
import sys
from typing import Any, Literal

from thaw_api.field_error import FieldError

Format = Literal["text", "json", "yaml", "name"]


def print_errors(subject: str, errors: list[FieldError]) -> None:
    """One line for each error; one about the whole file names it already."""
    for error in errors:
        print(error if error.path == subject else f"{subject}: {error}", file=sys.stderr)


def print_object(value: Any, fmt: Format) -> None:
    """A value as JSON or YAML."""
    if fmt == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
    else:
        print(json.dumps(value, indent=2, ensure_ascii=False))
