from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.data.batches import BatchPlan, plan_batches, plan_epoch
from thaw_trainer.prefix.entry import ClassFacts, Entry, EntryFacts
from thaw_trainer.prefix.fill import fill
from thaw_trainer.prefix.shelf import locked
from thaw_trainer.prefix.structure import describe

WIDTHS = np.asarray([4, 8, 12])
HIDDEN = 3


def recorded(plan: BatchPlan) -> dict[str, list[torch.Tensor]]:
    """What a block gives: a hidden state made of row and width, and a position bias that all rows share."""
    hidden = torch.from_numpy(plan.rows)[:, None, None].expand(-1, plan.width, HIDDEN) * 100.0 + plan.width
    return {"block": [hidden.contiguous(), torch.full((1, plan.width), float(plan.width))]}


def laid_out(folder: Path, lengths: list[int], batch_rows: int = 4) -> Entry:
    """An empty entry for rows of these lengths."""
    sweep = plan_batches(lengths, WIDTHS, batch_rows)
    classes = {}
    for plan in sweep:
        rows = sum(each.filled for each in sweep if each.width == plan.width)
        structures = {"block": describe(tuple(recorded(plan)["block"]))[0]}
        classes[plan.width] = ClassFacts(rows, len(plan.rows), structures, ("block",), {"block": 1})
    Entry.lay_out(folder, EntryFacts(1, "train", classes, len(sweep), forward=0.5))
    return Entry(folder, sweep)


def filled(folder: Path, lengths: list[int]) -> Entry:
    """A whole entry."""
    entry = laid_out(folder, lengths)
    for part in range(entry.parts):
        for plan in entry.plans_of(part):
            entry.put(plan, recorded(plan))
        entry.finish(part)
    return entry


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_every_batch_of_every_epoch_gets_back_what_its_rows_gave(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int
) -> None:
    entry = filled(tmp_path_factory.mktemp("entry") / "key", lengths)
    assert entry.is_complete()
    for plan in plan_epoch(lengths, WIDTHS, 4, (seed,)):
        found, wanted = entry.get(plan, torch.device("cpu")), recorded(plan)
        assert all(torch.equal(a, b) for a, b in zip(found["block"], wanted["block"], strict=True))


def test_another_process_reads_the_same_files(tmp_path: Path) -> None:
    entry = filled(tmp_path / "key", [3, 9, 12, 5])
    again = Entry(tmp_path / "key", entry.sweep)
    assert again.is_complete()
    assert again.broken_parts() == []
    assert again.facts == entry.facts
    assert entry.facts.bytes == 4 * (HIDDEN * (4 + 12 + 12 + 8) + 4 + 8 + 12)


def test_a_changed_byte_breaks_its_part_and_no_other(tmp_path: Path) -> None:
    entry = filled(tmp_path / "key", [3] * 16 + [12] * 16)
    file = tmp_path / "key" / "12-0.bin"
    with file.open("r+b") as opened:
        opened.seek(-1, 2)
        opened.write(b"\x77")
    assert entry.broken_parts() == [entry.parts - 1]


def test_a_part_whose_marker_is_cut_short_is_broken(tmp_path: Path) -> None:
    entry = filled(tmp_path / "key", [3] * 64)
    (tmp_path / "key" / "parts" / "0001.json").write_text("{", encoding="utf-8")
    assert entry.broken_parts() == [1]


@pytest.mark.parametrize("damage", ["version", "cut", "json", "other-rows"])
def test_an_entry_that_is_not_whole_is_not_opened(tmp_path: Path, damage: str) -> None:
    entry = filled(tmp_path / "key", [3, 9, 12, 5])
    sweep = list(entry.sweep)
    facts = tmp_path / "key" / "entry.json"
    if damage == "version":
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"version": 0}), encoding="utf-8")
    elif damage == "cut":
        (tmp_path / "key" / "12-0.bin").write_bytes(b"1234")
    elif damage == "json":
        facts.write_text('{"version": 3, "boun', encoding="utf-8")
    else:
        sweep = sweep[:-1]
    with pytest.raises((ValueError, KeyError)):
        Entry(tmp_path / "key", sweep)


def test_a_part_that_another_finishes_between_two_looks_is_waited_for_no_longer(tmp_path: Path) -> None:
    class FinishedByAnother(Entry):
        """Of one part, which is there from the third look on."""

        looks = 0

        def is_filled(self, part: int) -> bool:
            """See Entry."""
            self.looks += 1
            return self.looks > 2

    entry = FinishedByAnother(tmp_path / "key", laid_out(tmp_path / "key", [3]).sweep)
    with locked(entry.lock_file(0), wait=False):
        fill(torch.nn.Identity(), [entry], lambda plan: pytest.fail("another process has it"))
