from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.data.store import PreparedStore, digest, file_digest, open_or_write, ragged
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError

TOKENS = [[1, 2, 3], [4], [5, 6]]


def content(folder: Path) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    tokens = pa.array(TOKENS, pa.list_(pa.int32()))
    return {"labels": ["ä", "b"]}, {name: pa.table({"input_ids": tokens}) for name in ("train", "test")}


def unreachable(folder: Path) -> Any:
    raise AssertionError("made again")


def test_a_store_is_read_as_it_was_written(tmp_path: Path) -> None:
    store = open_or_write(tmp_path / "stores", "key", content)
    assert store.folder == tmp_path / "stores" / "key"
    assert store.facts == {"labels": ["ä", "b"]}
    assert store.table("test")["input_ids"].to_pylist() == TOKENS


def test_a_store_is_made_once(tmp_path: Path) -> None:
    open_or_write(tmp_path, "key", content)
    assert open_or_write(tmp_path, "key", unreachable).facts == {"labels": ["ä", "b"]}


def test_rows_are_mapped_and_not_read(tmp_path: Path) -> None:
    folder = open_or_write(tmp_path, "key", content).folder
    before = pa.total_allocated_bytes()
    values, offsets = ragged(PreparedStore(folder).table("train")["input_ids"])
    assert pa.total_allocated_bytes() == before
    assert (values.tolist(), offsets.tolist()) == ([1, 2, 3, 4, 5, 6], [0, 3, 4, 6])
    # A view of the file: what is written there is seen.
    file = folder / "train.arrow"
    written = bytearray(file.read_bytes())
    place = written.index(np.asarray([1, 2, 3], np.int32).tobytes())
    with file.open("r+b") as opened:
        opened.seek(place)
        opened.write(np.asarray([9], np.int32).tobytes())
    assert values[0] == 9


@pytest.mark.parametrize("crash_in", ["new_file", "fsync", "rename"])
def test_a_crash_while_writing_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_in: str
) -> None:
    class Crash(BaseException):
        """The process ends."""

    def crash(*args: Any, **kwargs: Any) -> Any:
        raise Crash

    owner: Any = {"new_file": pa.ipc, "fsync": os, "rename": Path}[crash_in]
    with monkeypatch.context() as patched:
        patched.setattr(owner, crash_in, crash)
        with pytest.raises(Crash):
            open_or_write(tmp_path, "key", content)
    assert not (tmp_path / "key").exists()
    assert open_or_write(tmp_path, "key", content).table("train")["input_ids"].to_pylist() == TOKENS
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_full_disk_is_an_error_that_names_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainerError, match="No space left") as caught:
        open_or_write(tmp_path, "key", content)
    assert (caught.value.reason, caught.value.cause) == (OUTPUT_NOT_WRITABLE, "infrastructure")
    assert not (tmp_path / "key").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, JSON)
def test_equal_content_has_equal_names_and_different_content_different_ones(first: Any, second: Any) -> None:
    assert digest(first) == digest(first)
    assert (digest(first) == digest(second)) == (canonical(first) == canonical(second))


def canonical(item: Any) -> Any:
    """True and 1 are equal in Python, and two things in a manifest."""
    if isinstance(item, dict):
        return {key: canonical(value) for key, value in item.items()}
    return [canonical(each) for each in item] if isinstance(item, list) else (type(item), item)


def test_the_order_of_keys_does_not_change_a_name() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_files_name_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "c").write_bytes(b"y")
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b") != file_digest(tmp_path / "c")
