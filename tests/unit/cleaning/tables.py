"""Tables that are cleaned without a job about them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from thaw_api.data import DataSpec
from thaw_trainer.cleaning.run import clean_sources
from thaw_trainer.data.rows import Rows

Columns = dict[str, list[Any]]


def cleaned(
    step: str,
    options: dict[str, Any],
    train: Columns,
    columns: dict[str, str] | None = None,
    **held_out: Columns,
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The rows that one step leaves of each source, and what it tells. The task reads `text` and `label`."""
    spec: dict[str, Any] = {"train": {"uri": "file:x"}, "clean": [{step: options}], "columns": columns or {}}
    sources = {name: Rows(pa.table(table)) for name, table in {"train": train, **held_out}.items()}
    rows, (told,) = clean_sources(DataSpec.model_validate(spec), sources, ("text", "label"), ("text",))
    return rows, told


def texts_after(step: str, options: dict[str, Any], *texts: str | None) -> list[str | None]:
    """A column `text` after one step."""
    rows, _ = cleaned(step, options, {"text": list(texts), "label": ["a"] * len(texts)})
    found: list[str | None] = rows["train"].table["text"].to_pylist()
    return found
