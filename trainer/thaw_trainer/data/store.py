"""The prepared store: one folder of memory-mapped Arrow files that every trial, worker and later attempt shares.

Its name is a digest of everything that it was made from, so a store is never stale: another input is another store.
It is written beside its place and renamed, so a store that is there is whole.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_trainer.data.kept_stores import KeptStores
from thaw_trainer.disk import writing

_FACTS = "facts.json"

Made: TypeAlias = tuple[dict[str, Any], dict[str, pa.Table]]
"""A new store's facts, and its table for each split."""


class PreparedStore:
    """A store that is there: `facts` (what was learned from the training rows, counts) and one table per split."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))

    def with_fact(self, name: str, value: Any) -> "PreparedStore":
        """The store with a fact that is not of its content, such as where the model's files are now.

        Raises:
            TrainerError: OutputNotWritable.
        """
        if self.facts.get(name) != value:
            unfinished = self.folder / f"{_FACTS}.unfinished"
            with writing(self.folder):
                _write_facts(unfinished, self.facts | {name: value})
                unfinished.replace(self.folder / _FACTS)
        return PreparedStore(self.folder)

    def table(self, split: str) -> pa.Table:
        """The rows of a split, mapped and not read."""
        with pa.memory_map(str(self.folder / f"{split}.arrow")) as source:
            return pa.ipc.open_file(source).read_all()


def digest(*parts: Any) -> str:
    """A short name for JSON-able content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """A short name for a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def source_digest(path: Path) -> Any:
    """What a file holds; for a folder, what each file in it holds."""
    if path.is_file():
        return file_digest(path)
    return {str(file.relative_to(path)): file_digest(file) for file in sorted(path.rglob("*")) if file.is_file()}


def open_or_write(root: Path, key: str, make: Callable[[Path], Made], kept: KeptStores | None = None) -> PreparedStore:
    """The store of this key below `root`, made first when it is not there.

    Args:
        make: given the store's folder, into which it may write files of its own; returns facts, and a table per split.
        kept: stores of earlier jobs, where this one may be found and is kept.

    Raises:
        TrainerError: OutputNotWritable, or what `make` raises.
    """
    folder = root / key
    if not folder.is_dir() and not (kept and kept.take(key, folder)):
        unfinished = root / f"{key}.unfinished"
        with writing(root):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        facts, tables = make(unfinished)
        with writing(root):
            _write(unfinished, facts, tables).rename(folder)
        if kept:
            kept.keep(key, folder)
    return PreparedStore(folder)


def _write(folder: Path, facts: dict[str, Any], tables: dict[str, pa.Table]) -> Path:
    for split, table in tables.items():
        with (folder / f"{split}.arrow").open("wb") as file:
            with pa.ipc.new_file(file, table.schema) as out:
                out.write_table(table.combine_chunks())
            file.flush()
            os.fsync(file.fileno())
    _write_facts(folder / _FACTS, facts)
    return folder


def _write_facts(file: Path, facts: dict[str, Any]) -> None:
    with file.open("w", encoding="utf-8") as opened:
        json.dump(facts, opened)
        opened.flush()
        os.fsync(opened.fileno())


def ragged(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """A list column as (flat values, offsets [rows + 1]), both views of the mapped file."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.values.to_numpy(zero_copy_only=True), array.offsets.to_numpy(zero_copy_only=True)
