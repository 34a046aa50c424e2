"""Examples as a job's sources have them: read, split, labels fitted on train, and what is held out kept apart from what
is trained on."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import DataSource, DataSpec
from thaw_api.steps import COLUMN_FEATURES
from thaw_trainer.data.holding_out import held_out_rows, refuse_groups_that_span
from thaw_trainer.data.rows import BadRow, LeftOut, Rows
from thaw_trainer.data.store import Made
from thaw_trainer.data.suspects import LOOKED_AT, leaking_columns
from thaw_trainer.data.tables import plain_columns
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.uris import UriRoots, resolve_data

SPLITS = ("train", "validation", "test")
TEST_ROWS = "test-rows"
"""Name of a store's table of the test split's columns."""
ROW = "_row"
"""Its column of the rows' numbers in the source."""


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


Columns: TypeAlias = Mapping[str, Sequence[Any]]
"""A value for each row, by role."""


@dataclass(frozen=True)
class Reader:
    """How the sources of a task are read."""

    open: Callable[[DataSpec, DataSource, Path, str], Rows]
    """The rows of a source: the spec, the source, where it is, and the path of its field (`spec.data.train`). Their
    table has the columns that `data.split` and `data.clean` may name."""
    parse: Callable[[DataSpec, Rows], Columns]
    """The examples of those rows that are left after cleaning; a row that it marks as bad may have anything."""
    identity: str
    """The role by which an example is the same as another."""
    roles: tuple[str, ...]
    """The roles that the task reads, for steps of cleaning that do not say what they are about."""
    texts: tuple[str, ...] = ()
    """Those of them that are text."""
    of_files: bool = False
    """Whether a row may name a file: then rows that are the same need not look it."""
    chosen: Callable[[DataSpec, pa.Table], tuple[str, ...]] | None = None
    """Which of the roles a table has, where it may have one set or another; absent: all."""

    def roles_of(self, data: DataSpec, table: pa.Table) -> tuple[str, ...]:
        """The roles that are read of a table."""
        return self.chosen(data, table) if self.chosen else self.roles


@dataclass
class SplitExamples:
    """The examples of each split, and what is told of how they came about."""

    splits: dict[str, Examples]
    counts: dict[str, int]
    cleaning: list[dict[str, Any]]
    left_out: LeftOut
    suspects: list[dict[str, Any]]
    """Columns that tell the training rows' label by themselves; see `leaking_columns`."""
    test_rows: pa.Table
    """The test split's single values of each column, with their `ROW`: for slices and examples."""

    def leave_out(self, split: str, bad: Sequence[BadRow]) -> NDArray[np.int64]:
        """Takes rows out that show only later that they cannot be used; returns the places of all others.

        Raises:
            TrainerError: they are too many.
        """
        rows = self.splits[split]
        self.left_out.add(split, len(rows), bad)
        kept = np.flatnonzero(~np.isin(rows.ids, [each.row for each in bad]))
        if bad:
            self.keep(split, kept)
        return kept

    def keep(self, split: str, places: NDArray[np.int64]) -> None:
        """Takes all other rows out of a split."""
        self.splits[split] = self.splits[split].take(places)
        self.counts[split] = len(places)

    def made(self, facts: dict[str, Any], tables: dict[str, pa.Table]) -> Made:
        """A store's facts and tables with what all of them have."""
        told = {"counts": self.counts, "cleaning": self.cleaning, "badRows": self.left_out.facts()}
        told |= {"suspects": self.suspects}
        return told | facts, tables | {TEST_ROWS: self.test_rows}


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


def read_splits(data: DataSpec, paths: dict[str, Path], reader: Reader, apart_by: str | None = None) -> SplitExamples:
    """The examples of each split: read, cleaned, split, and held-out duplicates of others taken out.

    Args:
        apart_by: a column by which rows of one source are kept together where the spec names none.

    Raises:
        TrainerError: whatever is wrong with the sources, a step of cleaning or the split.
    """
    opened = {name: reader.open(data, getattr(data, name), path, f"spec.data.{name}") for name, path in paths.items()}
    counts = {"read": sum(len(rows) for rows in opened.values())}
    cleaning: list[dict[str, Any]] = []
    if data.clean:
        from thaw_trainer.cleaning.run import clean_sources  # imports what only cleaning needs

        roles = reader.roles_of(data, opened["train"].table)
        texts = [role for role in roles if role in reader.texts]
        opened, cleaning = clean_sources(data, opened, roles, texts, reader.of_files)
    if any(name in COLUMN_FEATURES for step in data.features or () for name in step):
        from thaw_trainer.cleaning.derived import derive_columns  # as above

        opened = derive_columns(data, opened)
    left_out = LeftOut(data)
    found = {name: usable(data, reader, rows, name, left_out) for name, rows in opened.items()}
    train, table = found["train"]
    splits = {name: rows for name, (rows, _) in found.items()}
    held = {name: getattr(data.split, name) for name in SPLITS[1:] if name not in found}
    if any(held.values()):
        chosen = held_out_rows(data.split, held, table, train.ids, apart_by)
        splits |= {name: train.take(rows) for name, rows in chosen.items() if name == "train" or name in held}
    for name in SPLITS[1:]:
        if not splits.get(name):
            raise TrainerError(
                DATA_INVALID,
                f"no rows to {'choose by' if name == 'validation' else 'test on'}: "
                f"give data.{name}, or a share above 0 in data.split.{name}",
                f"spec.data.split.{name}",
            )
    if data.split.group_by:
        ids = {name: rows.ids for name, rows in splits.items()}
        tables = {name: (source.ids, table) for name, (source, table) in found.items()}
        refuse_groups_that_span(data.split.group_by, ids, tables)
    splits, counts = _without_duplicates(splits, counts, reader.identity)
    source, table = found.get("test", found["train"])
    return SplitExamples(
        splits,
        counts,
        cleaning,
        left_out,
        _suspects(data, reader, splits["train"], *found["train"]),
        _plain_rows(splits["test"], source, table),
    )


def _suspects(
    data: DataSpec, reader: Reader, train: Examples, source: Examples, table: pa.Table
) -> list[dict[str, Any]]:
    if "label" not in train.columns:
        return []
    read = {data.column(role) for role in reader.roles}
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:LOOKED_AT])
    names = [name for name in plain_columns(table) if name not in read]
    if not names:
        return []
    looked_at = _filtered(table.select(names), np.searchsorted(source.ids, train.ids[rows]))
    return leaking_columns(looked_at, [train.columns["label"][row] for row in rows])


def _plain_rows(rows: Examples, source: Examples, table: pa.Table) -> pa.Table:
    """Some rows of a source's table with their numbers, and those of its columns that hold single values."""
    numbered = pa.table({ROW: pa.array(source.ids, pa.int64())})
    for name in plain_columns(table):
        if name != ROW:
            numbered = numbered.append_column(name, table[name])
    return _filtered(numbered, np.searchsorted(source.ids, rows.ids))


def usable(data: DataSpec, reader: Reader, rows: Rows, name: str, left_out: LeftOut) -> tuple[Examples, pa.Table]:
    """The examples of a source's rows but the bad ones, and the rows of the table that they are from.

    Raises:
        TrainerError: whatever is wrong with the rows.
    """
    examples = Examples(reader.parse(data, rows), rows.ids)
    left_out.add(name, len(rows), list(rows.bad.values()))
    if not rows.bad:
        return examples, rows.table
    good = np.flatnonzero(~np.isin(rows.ids, list(rows.bad)))
    return examples.take(good), _filtered(rows.table, good)


def _filtered(table: pa.Table, places: NDArray[np.int64]) -> pa.Table:
    """Some rows, which ascend. Taking them would join the chunks of a column, whose text may be too long for one."""
    inside = np.zeros(table.num_rows, dtype=np.bool_)
    inside[places] = True
    return table.filter(pa.array(inside))


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


def fingerprint(splits: Mapping[str, Examples], roles: Sequence[str]) -> str:
    """A short name for which examples are in which split.

    Args:
        roles: columns that say what an example is; of text, numbers, or tuples of them.
    """
    hashed = hashlib.sha256()
    for name, rows in splits.items():
        hashed.update(json.dumps([name, rows.ids.tolist()]).encode())
        for role in roles:
            for value in rows.columns[role]:
                hashed.update(json.dumps(value).encode())
    return hashed.hexdigest()[:16]


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
