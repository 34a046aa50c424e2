"""A store whose training rows are those of train and validation together, to train a chosen trial once more on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thaw_trainer.data.store import Made, PreparedStore, digest, open_or_write
from thaw_trainer.disk import link_or_copy


def joined_store(store: PreparedStore, root: Path) -> PreparedStore:
    """The store with its validation rows trained on as well, made below `root` when it is not there.

    What was fitted on train (labels, vocabulary, length classes) stays as it is: the model's head depends on it.

    Raises:
        TrainerError: OutputNotWritable.
    """
    joined = open_or_write(root, digest("joined", store.folder.name), lambda folder: _made(store, folder))
    return joined.with_fact("modelFolder", store.facts["modelFolder"])


def _made(store: PreparedStore, folder: Path) -> Made:
    tables = {file.stem: store.table(file.stem) for file in sorted(store.folder.glob("*.arrow"))}
    tables["train"] = pa.concat_tables([tables["train"], tables["validation"]])
    for file in sorted(store.folder.glob("*.npy")):
        if file.stem == "train":
            _join_arrays(folder / file.name, [file, file.with_name("validation.npy")])
        else:
            link_or_copy(file, folder / file.name)
    return _joined_facts(store.facts), tables


def _join_arrays(place: Path, files: list[Path]) -> None:
    """Arrays [rows, ...] one behind the other, mapped and not read whole."""
    parts = [np.load(file, mmap_mode="r") for file in files]
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    joined = np.lib.format.open_memmap(place, mode="w+", dtype=parts[0].dtype, shape=shape)
    np.concatenate(parts, out=joined)
    joined.flush()


def _joined_facts(facts: dict[str, Any]) -> dict[str, Any]:
    counts = facts["counts"]
    changed: dict[str, Any] = {"counts": counts | {"train": counts["train"] + counts["validation"]}}
    if "classes" in facts:
        classes = facts["classes"]
        rows_of = {label: rows + classes["validation"].get(label, 0) for label, rows in classes["train"].items()}
        changed["classes"] = classes | {"train": rows_of}
    if "targetWidths" in facts:
        widths = facts["targetWidths"]
        both = zip(widths["train"], widths["validation"], strict=True)
        changed["targetWidths"] = widths | {"train": [max(pair) for pair in both]}
    return facts | changed
