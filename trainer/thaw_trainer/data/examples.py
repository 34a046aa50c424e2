"""Examples as a job's sources have them: read, split, labels fitted on train, and what is held out kept apart from what
is trained on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.splitting import split_rows
from thaw_trainer.data.tables import text_column
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.uris import UriRoots, resolve_data

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Examples:
    """Examples of one source or split: `columns` by role of the task, `ids` their numbers in the source."""

    columns: Mapping[str, Sequence[Any]]
    ids: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Examples":
        """Some of the examples."""
        taken = {role: [values[row] for row in rows] for role, values in self.columns.items()}
        return Examples(taken, self.ids[rows])

    def __len__(self) -> int:
        return len(self.ids)


Read: TypeAlias = tuple[Examples, pa.Table]
"""A source's examples, and the table whose columns `data.split` may name."""

Reader: TypeAlias = Callable[[DataSpec, DataSource, Path, str], Read]
"""Reads one source: the spec, the source, where it is, and the path of its field (`spec.data.train`)."""


def source_paths(data: DataSpec, roots: UriRoots) -> dict[str, Path]:
    """Where each source that the spec names is, by split.

    Raises:
        TrainerError: DataNotFound.
    """
    return {
        name: resolve_data(source.uri, f"spec.data.{name}.uri", roots)
        for name in SPLITS
        if (source := getattr(data, name)) is not None
    }


def read_splits(
    data: DataSpec, paths: dict[str, Path], read: Reader, identity: str
) -> tuple[dict[str, Examples], dict[str, int]]:
    """The examples of each split, and counts of what was read and taken out.

    Args:
        identity: the role by which an example of one split is the same as another's.

    Raises:
        TrainerError: whatever is wrong with the sources or the split.
    """
    found = {name: read(data, getattr(data, name), paths[name], f"spec.data.{name}") for name in paths}
    counts = {"read": sum(len(rows) for rows, _ in found.values())}
    train, table = found["train"]
    splits = {name: rows for name, (rows, _) in found.items()}
    held = {name: getattr(data.split, name) for name in SPLITS[1:] if name not in found}
    if any(held.values()):
        by = {
            name: text_column(table, column, f"spec.data.split.{name}") if column else None
            for name, column in (("stratifyBy", data.split.stratify_by), ("groupBy", data.split.group_by))
        }
        chosen = split_rows(
            len(train),
            held.get("validation", 0.0),
            held.get("test", 0.0),
            data.split.seed,
            strata=by["stratifyBy"],
            groups=by["groupBy"],
        )
        splits |= {name: train.take(rows) for name, rows in chosen.items() if name == "train" or name in held}
    for name in SPLITS[1:]:
        if not splits.get(name):
            raise TrainerError(
                DATA_INVALID,
                f"no rows to {'choose by' if name == 'validation' else 'test on'}: "
                f"give data.{name}, or a share above 0 in data.split.{name}",
                f"spec.data.split.{name}",
            )
    return _without_duplicates(splits, counts, identity)


def _without_duplicates(
    splits: dict[str, Examples], counts: dict[str, int], identity: str
) -> tuple[dict[str, Examples], dict[str, int]]:
    """Held-out rows that are also trained on (or, in test, chosen by) leave the held-out side."""
    seen = set(splits["train"].columns[identity])
    kept = {"train": splits["train"]}
    for name in SPLITS[1:]:
        rows = splits[name]
        values = rows.columns[identity]
        fresh = np.asarray([i for i, value in enumerate(values) if value not in seen], dtype=np.int64)
        counts[f"duplicatesOutOf{name.capitalize()}"] = len(rows) - len(fresh)
        if not len(fresh):
            raise TrainerError(DATA_INVALID, f"every row of {name} is also in train", f"spec.data.{name}")
        kept[name] = rows.take(fresh)
        seen.update(values)
    return kept, counts | {name: len(rows) for name, rows in kept.items()}


def fit_labels(splits: dict[str, Examples]) -> list[str]:
    """The classes of the training rows' `label`, sorted.

    Raises:
        TrainerError: DataInvalid: fewer than two, or held-out rows of another class.
    """
    labels = sorted(set(splits["train"].columns["label"]))
    if len(labels) < 2:
        raise TrainerError(
            DATA_INVALID, f"a classifier needs 2 labels; the training rows have {labels}", "spec.data.columns.label"
        )
    for name in SPLITS[1:]:
        unknown = sorted(set(splits[name].columns["label"]) - set(labels))
        if unknown:
            raise TrainerError(
                DATA_INVALID,
                f"{name} has labels that no training row has: {unknown[:5]}; use data.split.stratifyBy, or more rows",
                "spec.data.columns.label",
            )
    return labels


def class_counts(splits: dict[str, Examples], labels: list[str]) -> dict[str, dict[str, int]]:
    """How many examples of each class a split has."""
    return {
        name: {label: list(rows.columns["label"]).count(label) for label in labels} for name, rows in splits.items()
    }
