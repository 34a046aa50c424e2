"""Folders that `save_to_disk` of Hugging Face datasets wrote, read by pyarrow alone.

dataset_dict.json     `splits`: a folder for each; only where there are several
state.json            `_data_files`: Arrow streams, in order
dataset_info.json     `features`: what Arrow does not say of a column, such as the names of classes
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from thaw_trainer.errors import DATA_NOT_FOUND, DATA_UNREADABLE, TrainerError

_SPLITS, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"


def is_saved_dataset(path: Path) -> bool:
    """Whether a path is such a folder, of one split or of several."""
    return (path / _STATE).is_file() or (path / _SPLITS).is_file()


def read_saved_dataset(path: Path, field: str) -> pa.Table:
    """The rows of a dataset, or of its split that is called like the field; classes by their names.

    Args:
        field: path of the manifest's field that names the folder (`spec.data.train`).

    Raises:
        TrainerError: DataNotFound for a split that is not there; DataUnreadable.
        pa.ArrowException, OSError: an Arrow file is broken or gone.
    """
    folder = _split_folder(path, field)
    try:
        files = [folder / each["filename"] for each in _json(folder / _STATE)["_data_files"]]
        features: dict[str, Any] = _json(folder / _INFO).get("features") or {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder} is nothing that save_to_disk wrote: {type(error).__name__}: {error}"
        raise TrainerError(DATA_UNREADABLE, message, f"{field}.uri") from error
    if not files:
        raise TrainerError(DATA_UNREADABLE, f"{folder} names no file with rows", f"{field}.uri")
    table = pa.concat_tables([_stream(file) for file in files])
    for index, name in enumerate(table.column_names):
        values = _by_name(table[name], features.get(name))
        if values is not None:
            table = table.set_column(index, name, values)
    return table


def _split_folder(path: Path, field: str) -> Path:
    if not (path / _SPLITS).is_file():
        return path
    split = field.rpartition(".")[2]
    found = sorted(file.parent.name for file in path.glob(f"*/{_STATE}"))
    if split not in found:
        message = f"{path} has no split {split!r}; it has {', '.join(found)}: name the folder of one"
        raise TrainerError(DATA_NOT_FOUND, message, f"{field}.uri")
    return path / split


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _stream(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).read_all()


def _by_name(values: pa.ChunkedArray, feature: Any) -> pa.Array | None:
    """A column of classes, or of lists of them, as text; None for any other. -1 is a class that is not known."""
    names = _class_names(feature)
    if names is not None:
        return pa.array([_name(names, each) for each in values.to_pylist()], pa.string())
    # A list is a `List` or `Sequence` of a feature, and was a list of one at first.
    within = feature.get("feature") if isinstance(feature, dict) else feature[0] if isinstance(feature, list) else None
    names = _class_names(within)
    if names is not None:
        rows = [None if row is None else [_name(names, each) for each in row] for row in values.to_pylist()]
        return pa.array(rows, pa.list_(pa.string()))
    return None


def _class_names(feature: Any) -> list[str] | None:
    is_class = isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    return feature.get("names") if is_class else None


def _name(names: list[str], number: int | None) -> str | None:
    return None if number is None or number < 0 else names[number]
