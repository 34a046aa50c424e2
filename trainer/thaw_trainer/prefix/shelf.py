"""The folder of the cache's entries, which every job of a machine may share: locks, budget, eviction.

Entries are named by everything that decides their numbers, so one is never stale. A process holds a shared lock on each
entry that it uses; what nobody holds may be removed, the longest unused first.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from thaw_api.contract import CACHE_VARIABLE


def default_folder() -> Path:
    """`$THAW_CACHE_DIR`, or `thaw/prefix` in the user's cache folder."""
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "thaw" / "prefix"


class Shelf:
    """Entries in one folder."""

    def __init__(self, root: Path, budget: int) -> None:
        """`budget`: bytes that all entries together may take."""
        self.root, self.budget = root, budget
        self._held: dict[str, IO[bytes]] = {}

    def folder(self, key: str) -> Path:
        """Where an entry is or will be."""
        return self.root / key

    def hold(self, key: str) -> None:
        """Keeps an entry from being evicted for as long as this process lives or until `release`."""
        if key not in self._held:
            self.root.mkdir(parents=True, exist_ok=True)
            file = self._lock_file(key).open("ab")
            fcntl.flock(file, fcntl.LOCK_SH)
            self._held[key] = file
        os.utime(self._held[key].fileno())

    def release(self, key: str) -> None:
        """Lets an entry be evicted."""
        held = self._held.pop(key, None)
        if held is not None:
            held.close()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One process at a time lays out, rebuilds or evicts."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "shelf.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self, key: str) -> None:
        """Removes an entry's files. Call it inside `changing`."""
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def make_room(self, size: int, wanted: frozenset[str]) -> int:
        """Evicts what nobody uses until `size` more bytes fit; returns the bytes that are missing even so.

        Call it inside `changing`. `wanted` are entries that this job is about to use.
        """
        sizes = {folder.name: folder_size(folder) for folder in self.root.iterdir() if folder.is_dir()}
        lacking = sum(sizes.values()) + size - self.budget
        for key in sorted(sizes, key=self._last_use):
            if lacking <= 0:
                break
            if key not in wanted and self._is_unused(key):
                self.remove(key)
                lacking -= sizes[key]
        return max(0, lacking)

    def _is_unused(self, key: str) -> bool:
        if key in self._held:
            return False
        with self._lock_file(key).open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def _last_use(self, key: str) -> float:
        with suppress(FileNotFoundError):
            return self._lock_file(key).stat().st_mtime
        return 0.0

    def _lock_file(self, key: str) -> Path:
        return self.root / f"{key}.lock"


@contextmanager
def locked(file: Path, wait: bool) -> Iterator[bool]:
    """Holds a file's lock, which ends with the process; yields whether it was got."""
    with file.open("ab") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def folder_size(folder: Path) -> int:
    """Bytes that a folder's files take; files may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total
