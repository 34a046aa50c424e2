"""Prepared stores that a later job with the same inputs finds ready: a folder of this machine, kept between jobs.

A store's name is a digest of what it is made from; here the digest of the code that makes it is part of it too. Files
are never written again, so an output folder's store and the kept one may be the same files under two names.
"""

import json
import os
import shutil
import uuid
from functools import cache
from importlib.metadata import version
from pathlib import Path

import thaw_api
from thaw_api.contract import CACHE_VARIABLE
from thaw_trainer.disk import link_or_copy
from thaw_trainer.prefix import shelf
from thaw_trainer.prefix.shelf import Shelf, folder_size

BUDGET = 20 * 2**30
"""Bytes that all kept stores may take; the longest unused go first."""

_OF_THE_CODE = ("data", "cleaning", "labels", "tasks", "models")
_LIBRARIES = ("transformers", "tokenizers", "polars", "pyarrow", "pillow", "torchvision", "soundfile", "soxr", "numpy")
_WHOLE = "whole.json"
"""Beside a kept store's files: their names and sizes, so that what an eviction has begun to remove is not taken."""


class KeptStores:
    """Stores of all jobs in one folder."""

    def __init__(self, root: Path, budget: int = BUDGET) -> None:
        self._shelf = Shelf(root, budget)

    def take(self, key: str, place: Path) -> bool:
        """Puts a kept store's files under `place` too, whole or not at all; whether it did. What goes wrong with it is
        no error: the store is made."""
        kept = self._shelf.folder(_with_code(key))
        unfinished = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
        try:
            with self._shelf.changing():
                if not _is_whole(kept):
                    return False
                self._shelf.hold(kept.name)
                self._shelf.release(kept.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(kept, unfinished, copy_function=link_or_copy, ignore=shutil.ignore_patterns(_WHOLE))
            unfinished.rename(place)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            return False
        return True

    def keep(self, key: str, folder: Path) -> None:
        """Keeps a new store, where there is room for it."""
        name = _with_code(key)
        unfinished = self._shelf.root / f"{name}.unfinished"
        try:
            with self._shelf.changing():
                size = folder_size(folder)
                if _is_whole(self._shelf.folder(name)) or size > self._shelf.budget:
                    return
                self._shelf.remove(name)
                if self._shelf.make_room(size, frozenset()):
                    return
                shutil.rmtree(unfinished, ignore_errors=True)
                shutil.copytree(folder, unfinished, copy_function=link_or_copy)
                (unfinished / _WHOLE).write_text(json.dumps(_sizes(folder)), encoding="utf-8")
                unfinished.rename(self._shelf.folder(name))
                self._shelf.hold(name)
                self._shelf.release(name)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)


def default_folder() -> Path:
    """Beside `$THAW_CACHE_DIR`, or `thaw/prepared` in the user's cache folder."""
    prefixes = shelf.default_folder()
    return prefixes.with_name(f"{prefixes.name}-prepared" if CACHE_VARIABLE in os.environ else "prepared")


def _is_whole(kept: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((kept / _WHOLE).read_text(encoding="utf-8"))
        return sizes == _sizes(kept)
    except (OSError, ValueError):
        return False


def _sizes(folder: Path) -> dict[str, int]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != _WHOLE)
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}


def _with_code(key: str) -> str:
    return f"{key}-{_code()}"


@cache
def _code() -> str:
    """Digest of the code that reads, cleans and encodes rows, and of the libraries that it uses."""
    from thaw_trainer.data.store import digest, file_digest  # which imports this module

    package = Path(__file__).parents[1]
    folders = [*(package / folder for folder in _OF_THE_CODE), Path(thaw_api.__file__).parent]
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    versions = [version(library) for library in _LIBRARIES]
    return digest([file_digest(file) for file in files], versions)
