"""One entry of the cache: what the modules at one boundary returned for every row of one split.

    <key>/entry.json            shapes of each class of rows; written last when the entry is laid out
    <key>/<class>-<n>.bin       rows of one class, one tensor: [rows, ...], in the order of the split's sweep
    <key>/parts/0003.json       part 3 is filled: the checksum of its bytes in each file

A class is a shape: rows that are padded to one width. The files have their full size from the beginning, so a full disk
is known before anything is computed; parts are filled by whichever process gets their lock.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.prefix.structure import Structure, tensor_specs

VERSION = 4
_MOST_PARTS, _PLANS_OF_A_PART = 16, 4


@dataclass(frozen=True)
class ClassFacts:
    """Batches of one width: what each module returns, and which of them are recorded."""

    rows: int
    batch_rows: int
    """Rows of each batch."""
    structures: dict[str, Structure]
    """Of every module that gets a stand-in."""
    recorded: tuple[str, ...]
    calls: dict[str, int]
    """How often each recorded module is called in one forward."""

    @property
    def tensors(self) -> list[tuple[str, int, Structure]]:
        """Module, index among its tensors, and shape of each recorded tensor, in the files' order."""
        return [
            (name, index, spec)
            for name in self.recorded
            for index, spec in enumerate(tensor_specs(self.structures[name]))
        ]

    def is_shared(self, spec: Structure) -> bool:
        """Whether a tensor is the same for all rows of the class (T5's position bias)."""
        return bool(spec["shape"][0] != self.batch_rows)

    def items(self, spec: Structure) -> int:
        """Numbers of one tensor's file."""
        first = spec["shape"][0] if self.is_shared(spec) else self.rows
        return int(first * np.prod(spec["shape"][1:], dtype=np.int64))


@dataclass(frozen=True)
class EntryFacts:
    """Everything about an entry but its numbers."""

    boundary: int
    split: str
    classes: dict[int, ClassFacts]
    plans: int
    """Batches of the sweep that the entry was laid out for."""
    forward: float
    """Seconds that one process needs to compute what the entry holds."""

    @property
    def bytes(self) -> int:
        """Size of the recorded tensors."""
        return sum(
            facts.items(spec) * _item_size(spec) for facts in self.classes.values() for *_, spec in facts.tensors
        )


class Entry:
    """An entry that is laid out, mapped from its folder.

    Raises:
        OSError, ValueError, KeyError: when it is opened and is not whole.
    """

    def __init__(self, folder: Path, sweep: Sequence[BatchPlan]) -> None:
        self.folder, self.sweep = folder, sweep
        self.facts = _read_facts(folder)
        if self.facts.plans != len(sweep):
            raise ValueError(f"laid out for {self.facts.plans} batches, not {len(sweep)}")
        self._slots = _slots(sweep)
        self._files = {
            width: [_map(self._file(width, index), facts, spec) for index, (*_, spec) in enumerate(facts.tensors)]
            for width, facts in self.facts.classes.items()
        }
        parts = min(_MOST_PARTS, -(-len(sweep) // _PLANS_OF_A_PART))
        self._parts = np.array_split(np.arange(len(sweep)), parts)

    @staticmethod
    def lay_out(folder: Path, facts: EntryFacts) -> None:
        """Makes the files in their full size.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        for width, each in facts.classes.items():
            for index, (*_, spec) in enumerate(each.tensors):
                with (folder / f"{width}-{index}.bin").open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, max(1, each.items(spec) * _item_size(spec)))
        unfinished = folder / "entry.unfinished"
        unfinished.write_text(json.dumps({"version": VERSION, **asdict(facts)}), encoding="utf-8")
        unfinished.replace(folder / "entry.json")

    @property
    def parts(self) -> int:
        """Pieces that are filled one by one."""
        return len(self._parts)

    def plans_of(self, part: int) -> list[BatchPlan]:
        """The batches of a part."""
        return [self.sweep[index] for index in self._parts[part]]

    def is_filled(self, part: int) -> bool:
        """Whether a part is there."""
        return self._marker(part).is_file()

    def is_complete(self) -> bool:
        """Whether every part is there."""
        return all(self.is_filled(part) for part in range(self.parts))

    def lock_file(self, part: int) -> Path:
        """The file to lock while a part is filled."""
        return self.folder / "parts" / f"{part:04}.lock"

    def put(self, plan: BatchPlan, recorded: Mapping[str, Sequence[torch.Tensor]]) -> None:
        """Writes one batch's tensors into the files."""
        slots, facts = self._slots[plan.rows[: plan.filled]], self.facts.classes[plan.width]
        for (name, index, spec), file in zip(facts.tensors, self._files[plan.width], strict=True):
            tensor = recorded[name][index]
            if facts.is_shared(spec):
                file.copy_(tensor)
            else:
                file[torch.from_numpy(slots)] = tensor[: plan.filled].to(file.device)

    def finish(self, part: int) -> None:
        """Says that a part is there. It is not waited for the disk: what a machine that stops has lost, its checksum
        tells whoever opens the entry next."""
        sums = self._checksums(part)
        unfinished = self._marker(part).with_suffix(".unfinished")
        unfinished.write_text(json.dumps(sums), encoding="utf-8")
        unfinished.replace(self._marker(part))

    def broken_parts(self) -> list[int]:
        """Parts whose bytes are not those that were written."""
        return [part for part in range(self.parts) if self.is_filled(part) and not self._is_whole(part)]

    def forget(self, part: int) -> None:
        """Takes back that a part is there."""
        self._marker(part).unlink(missing_ok=True)

    def get(self, plan: BatchPlan, device: torch.device) -> dict[str, list[torch.Tensor]]:
        """The recorded tensors of a batch, by module: [rows, ...] in the plan's order."""
        slots, facts = torch.from_numpy(self._slots[plan.rows]), self.facts.classes[plan.width]
        found: dict[str, list[torch.Tensor]] = {}
        for (name, _, spec), file in zip(facts.tensors, self._files[plan.width], strict=True):
            tensor = file.clone() if facts.is_shared(spec) else file.index_select(0, slots)
            found.setdefault(name, []).append(tensor.to(device))
        return found

    def _is_whole(self, part: int) -> bool:
        try:
            written = json.loads(self._marker(part).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(written == self._checksums(part))

    def _checksums(self, part: int) -> dict[str, int]:
        """CRC-32 of the part's bytes in each file; its slots of a class are next to each other."""
        sums = {}
        for width in sorted({plan.width for plan in self.plans_of(part)}):
            plans = [plan for plan in self.plans_of(part) if plan.width == width]
            slots = np.concatenate([self._slots[plan.rows[: plan.filled]] for plan in plans])
            facts = self.facts.classes[width]
            for index, ((*_, spec), file) in enumerate(zip(facts.tensors, self._files[width], strict=True)):
                rows = file if facts.is_shared(spec) else file[slots.min() : slots.max() + 1]
                sums[f"{width}-{index}"] = zlib.crc32(rows.contiguous().view(torch.uint8).numpy().data)
        return sums

    def _file(self, width: int, index: int) -> Path:
        return self.folder / f"{width}-{index}.bin"

    def _marker(self, part: int) -> Path:
        return self.folder / "parts" / f"{part:04}.json"


def _slots(sweep: Sequence[BatchPlan]) -> NDArray[np.int64]:
    """Each row's index among the rows of its class, in the order of the sweep."""
    slots = np.full(1 + max(int(plan.rows.max()) for plan in sweep), -1, dtype=np.int64)
    begun: dict[int, int] = {}
    for plan in sweep:
        first = begun.get(plan.width, 0)
        slots[plan.rows[: plan.filled]] = np.arange(first, first + plan.filled)
        begun[plan.width] = first + plan.filled
    return slots


def _map(file: Path, facts: ClassFacts, spec: Structure) -> torch.Tensor:
    """A file as a tensor that shares its pages with every process that maps it."""
    shape = list(spec["shape"])
    if not facts.is_shared(spec):
        shape[0] = facts.rows
    items = facts.items(spec)
    if file.stat().st_size < items * _item_size(spec):
        raise ValueError(f"{file} is cut short")
    if not items:
        return torch.empty(shape, dtype=getattr(torch, spec["dtype"]))
    return torch.from_file(str(file), shared=True, size=items, dtype=getattr(torch, spec["dtype"])).view(shape)


def _read_facts(folder: Path) -> EntryFacts:
    data: dict[str, Any] = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
    if data.pop("version") != VERSION:
        raise ValueError("of another version")
    classes = {
        int(width): ClassFacts(**each | {"recorded": tuple(each["recorded"])})
        for width, each in data.pop("classes").items()
    }
    return EntryFacts(classes=classes, **data)


def _item_size(spec: Structure) -> int:
    return int(torch.empty((), dtype=getattr(torch, spec["dtype"])).element_size())
