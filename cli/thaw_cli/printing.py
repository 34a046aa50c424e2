"""Printing outcomes as text, JSON, YAML or names; errors go to standard error, each with its field."""

import json
import sys
from collections.abc import Collection, Sequence
from typing import Any, Literal

from thaw_api.field_error import FieldError

Format = Literal["text", "json", "yaml", "name"]


def print_errors(subject: str, errors: list[FieldError]) -> None:
    """One line for each error; one about the whole file names it already."""
    for error in errors:
        print(error if error.path == subject else f"{subject}: {error}", file=sys.stderr)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A table as lines of text.

    Args:
        right: places of the columns that are aligned to the right.
    """
    widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [columns, *rows]
    ]


def print_object(value: Any, fmt: Format) -> None:
    """A value as JSON or YAML."""
    if fmt == "yaml":
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
    else:
        print(json.dumps(value, indent=2, ensure_ascii=False))
