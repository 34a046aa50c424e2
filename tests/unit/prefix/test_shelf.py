from __future__ import annotations

import os
from pathlib import Path

import pytest

from thaw_api.contract import CACHE_VARIABLE
from thaw_trainer.prefix.shelf import Shelf, default_folder, locked


def put(shelf: Shelf, key: str, size: int, used: float) -> None:
    """An entry of some bytes, last used at a time."""
    shelf.folder(key).mkdir(parents=True)
    (shelf.folder(key) / "0.bin").write_bytes(b"x" * size)
    lock = shelf.root / f"{key}.lock"
    lock.touch()
    os.utime(lock, (used, used))


def keys(shelf: Shelf) -> set[str]:
    return {folder.name for folder in shelf.root.iterdir() if folder.is_dir()}


def test_the_longest_unused_leave_first_and_no_more_than_needed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, budget=100)
    for key, used in (("old", 1.0), ("older", 0.5), ("new", 2.0)):
        put(shelf, key, 30, used)
    with shelf.changing():
        assert shelf.make_room(40, frozenset()) == 0
    assert keys(shelf) == {"old", "new"}


def test_what_is_wanted_or_used_by_another_process_stays(tmp_path: Path) -> None:
    shelf, other = Shelf(tmp_path, budget=100), Shelf(tmp_path, budget=100)
    for key in ("wanted", "used", "idle"):
        put(shelf, key, 30, 1.0)
    other.hold("used")
    with shelf.changing():
        assert shelf.make_room(60, frozenset({"wanted"})) == 20
    assert keys(shelf) == {"wanted", "used"}
    other.release("used")
    with shelf.changing():
        assert shelf.make_room(60, frozenset({"wanted"})) == 0
    assert keys(shelf) == {"wanted"}


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "part.lock", wait=False) as first:
        assert first
        with locked(tmp_path / "part.lock", wait=False) as second:
            assert not second
    with locked(tmp_path / "part.lock", wait=False) as third:
        assert third


def test_the_folder_is_the_variable_or_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert default_folder() == tmp_path / "thaw" / "prefix"
    monkeypatch.setenv(CACHE_VARIABLE, "/scratch")
    assert default_folder() == Path("/scratch")
