"""Stores that are kept between jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.tiny_images import TinyImages
from tests.unit.tiny_jobs import TinyJob
from thaw_trainer.data import kept_stores, labelled_texts
from thaw_trainer.data.kept_stores import KeptStores
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.tasks import image_classification, text_classification
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.uris import UriRoots


def prepared(tiny: TinyJob, output: str, kept: KeptStores) -> Path:
    files = JobFiles(UriRoots(tiny.root), tiny.root / output, kept)
    return text_classification.KIND.prepare(tiny.spec(), files)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyJob:
    return TinyJob(tmp_path / "job")


def test_a_second_job_finds_the_store_of_the_first(
    tiny: TinyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)

    def refuse(*_: object) -> None:
        raise AssertionError("rows are read again")

    monkeypatch.setattr(labelled_texts, "read_splits", refuse)
    second = prepared(tiny, "two", kept)
    assert second != first
    assert PreparedStore(second).facts == PreparedStore(first).facts
    for split in ("train", "validation", "test"):
        assert PreparedStore(second).table(split).equals(PreparedStore(first).table(split))


def test_pixels_are_kept_too(tmp_path: Path) -> None:
    tiny = TinyImages(tmp_path / "job")
    kept = KeptStores(tmp_path / "kept")
    folders = [
        image_classification.KIND.prepare(tiny.spec(), replace(tiny.files, stores=tmp_path / name, kept=kept))
        for name in ("one", "two")
    ]
    first, second = ({file.name: file.stat().st_ino for file in folder.glob("*.npy")} for folder in folders)
    assert first == second, "the same files under two names"


def test_another_code_or_library_makes_it_anew(tiny: TinyJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)
    monkeypatch.setattr(kept_stores, "_code", lambda: "another")
    assert not kept.take(first.name, tmp_path / "place")


def test_what_is_cut_short_is_not_taken(tiny: TinyJob, tmp_path: Path) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)
    (store,) = (folder for folder in (tmp_path / "kept").iterdir() if folder.is_dir())
    store.rename(store.with_name(f"{store.name}.unfinished"))
    assert not kept.take(first.name, tmp_path / "place")
    assert not (tmp_path / "place").exists()
    prepared(tiny, "two", kept)
    assert kept.take(first.name, tmp_path / "place"), "it is kept again"


def test_what_an_eviction_has_begun_to_remove_is_not_taken(tiny: TinyJob, tmp_path: Path) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)
    (store,) = (folder for folder in (tmp_path / "kept").iterdir() if folder.is_dir())
    (store / "test.arrow").unlink()
    assert not kept.take(first.name, tmp_path / "place")
    kept.keep(first.name, first)
    assert kept.take(first.name, tmp_path / "place"), "it is kept anew"
    assert sorted(file.name for file in (tmp_path / "place").iterdir()) == sorted(file.name for file in first.iterdir())


def test_the_longest_unused_make_room(tiny: TinyJob, tmp_path: Path) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)
    size = sum(file.stat().st_size for file in first.iterdir())
    small = KeptStores(tmp_path / "small", budget=2 * size + size // 2)
    for key in ("a", "b", "c"):
        small.keep(key, first)
    assert [small.take(key, tmp_path / key) for key in ("a", "b", "c")] == [False, True, True]


def test_a_store_larger_than_the_budget_is_not_kept(tiny: TinyJob, tmp_path: Path) -> None:
    kept = KeptStores(tmp_path / "kept")
    first = prepared(tiny, "one", kept)
    size = sum(file.stat().st_size for file in (tmp_path / "kept").rglob("*"))
    small = KeptStores(tmp_path / "kept", budget=size)
    (first / "more.npy").write_bytes(b"0" * size)
    small.keep("larger", first)
    assert not small.take("larger", tmp_path / "place")
    assert small.take(first.name, tmp_path / "place"), "and nothing had to make room for it"
