"""One source read as a job reads it, without a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from thaw_api.data import DataSpec
from thaw_trainer.data.examples import Examples, Reader, usable
from thaw_trainer.data.rows import LeftOut


def examples_of(reader: Reader, data: DataSpec, path: Path, field: str = "spec.data.train", **source: Any) -> Examples:
    """The examples of a source.

    Args:
        source: other fields of `data.train` than the spec has.
    """
    rows = reader.open(data, data.train.model_copy(update=source), path, field)
    return usable(data, reader, rows, field.rpartition(".")[2], LeftOut(data))[0]
