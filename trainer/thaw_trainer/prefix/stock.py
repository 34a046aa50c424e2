"""The entries that a trial may use: found, laid out where they pay, filled.

Whether an entry is used never changes a result, so each process decides by itself, and whatever goes wrong is a reason
to compute instead, never the trial's end.
"""

import logging
import time
from typing import Any

import torch
import transformers
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.store import digest
from thaw_trainer.errors import PREFIX_NOT_CACHEABLE, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import autocast
from thaw_trainer.models.adapter import adapter_key
from thaw_trainer.prefix.entry import VERSION, Entry, EntryFacts
from thaw_trainer.prefix.fill import fill
from thaw_trainer.prefix.memory import PrefixSite
from thaw_trainer.prefix.shelf import Shelf
from thaw_trainer.prefix.survey import NotCacheable, survey
from thaw_trainer.prefix.worth import Estimate, measure_disk, memory_for_pages
from thaw_trainer.tasks.protocol import RowSource, Task

SPLITS = ("train", "validation")
"""The splits that every trial goes over; the test rows are read once."""

_log = logging.getLogger("thaw.prefix")


class Stock:
    """One trial's entries: those of its rows and its untrained model."""

    def __init__(
        self,
        site: PrefixSite,
        task: Task,
        rows: RowSource,
        sweeps: dict[str, list[BatchPlan]],
        spec: FineTuneJobSpec,
        layout: Layout,
        gang: Gang,
    ) -> None:
        """`sweeps`: each split's batches, each row once."""
        self.sweeps = sweeps
        self.memory, self.plan, self.rows = site.memory, site.plan, rows
        self._task, self._training, self._layout, self._gang = task, spec.training, layout, gang
        if site.memory.shelf is None:
            site.memory.shelf = Shelf(site.memory.root, site.plan.budget)
        self._shelf = site.memory.shelf
        pristine = digest(rows.pristine_key(), adapter_key(spec.model))
        self._keys = {(s, b): self._name(s, b, pristine) for s in SPLITS for b in site.plan.passes}

    def at(self, boundary: int) -> dict[str, Entry]:
        """The filled entries of a boundary, by split."""
        keys = {split: self.key(split, boundary) for split in SPLITS}
        return {split: self.memory.entries[key] for split, key in keys.items() if key in self.memory.entries}

    def reason_against(self, boundary: int) -> str:
        """Why the training rows are not cached at a boundary."""
        return self.memory.reasons.get(self.key("train", boundary), "")

    def prepare(self, model: nn.Module) -> None:
        """Has every planned entry filled; `model` must be pristine, and nothing of it frozen yet.

        Raises:
            TrainerError: PrefixNotCacheable, when the manifest says `always` and it cannot be.
        """
        if self._knows_all():
            return
        began = time.perf_counter()
        try:
            for split in SPLITS:
                self._prepare_split(model, split)
        except OSError as error:
            self._refuse([self.key(split, b) for split in SPLITS for b in self.plan.passes], f"the disk: {error}")
        self.memory.filled_seconds += time.perf_counter() - began
        if self.plan.mode == "always":
            for split in SPLITS:
                for boundary in self.plan.passes:
                    if reason := self.memory.reasons.get(self.key(split, boundary)):
                        raise TrainerError(PREFIX_NOT_CACHEABLE, reason, "spec.freezing.cache.mode")

    def _knows_all(self) -> bool:
        known = self.memory.entries.keys() | self.memory.reasons.keys()
        return known >= set(self._keys.values())

    def key(self, split: str, boundary: int) -> str:
        """The name of the entry of a split at a planned boundary."""
        return self._keys[split, boundary]

    def _name(self, split: str, boundary: int, pristine: str) -> str:
        """Digest of everything that decides the numbers of an entry."""
        device = torch.cuda.get_device_name(self._gang.device) if self._gang.device.type == "cuda" else "cpu"
        versions = (torch.__version__, transformers.__version__)
        batch_rows = {plan.width: len(plan.rows) for plan in self.sweeps[split]}
        return digest(
            VERSION,
            pristine,
            split,
            boundary,
            batch_rows,
            self._training.precision,
            device,
            versions,
        )

    def _prepare_split(self, model: nn.Module, split: str) -> None:
        sweep = self.sweeps[split]
        keys = {boundary: self.key(split, boundary) for boundary in self.plan.passes}

        def run(plan: BatchPlan) -> Any:
            return self._task.outputs(model, self.rows.collate(split, plan), self._gang.device)

        model.eval()
        with torch.inference_mode(), autocast(self._training, self._gang.device):
            with self._shelf.changing():
                for key in keys.values():
                    self._shelf.hold(key)
                entries = self._open_whole(keys, sweep)
                lacking = [b for b in keys if b not in entries and keys[b] not in self.memory.reasons]
                if lacking:
                    found = survey(model, self._layout, lacking, split, sweep, run)
                    self._lay_out(found, keys)
                    entries |= {
                        b: Entry(self._shelf.folder(keys[b]), sweep)
                        for b in lacking
                        if keys[b] not in self.memory.reasons
                    }
            incomplete = [entry for entry in entries.values() if not entry.is_complete()]
            if incomplete:
                fill(model, incomplete, run)
        self.memory.entries |= {keys[boundary]: entry for boundary, entry in entries.items()}

    def _open_whole(self, keys: dict[int, str], sweep: list[BatchPlan]) -> dict[int, Entry]:
        """Entries that are there; what is broken in them is taken out, to be filled again."""
        entries = {}
        for boundary, key in keys.items():
            if not self._shelf.folder(key).exists():
                continue
            try:
                entry = Entry(self._shelf.folder(key), sweep)
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("entry %s is laid out again: %s", key, error)
                self._shelf.remove(key)
                continue
            for part in entry.broken_parts():
                _log.warning("part %d of entry %s is filled again: its checksum is another", part, key)
                entry.forget(part)
            entries[boundary] = entry
        return entries

    def _lay_out(self, found: dict[int, EntryFacts | NotCacheable], keys: dict[int, str]) -> None:
        """Makes room for those that pay, the most useful first."""
        disk, memory = measure_disk(self._shelf.root), memory_for_pages()
        gains: dict[int, float] = {}
        for boundary, each in found.items():
            if isinstance(each, NotCacheable):
                self._refuse([keys[boundary]], str(each))
                continue
            estimate = Estimate(each.forward, each.bytes, self.plan.passes[boundary])
            gains[boundary] = estimate.seconds_saved(disk, memory)
            if gains[boundary] <= 0 and self.plan.mode == "auto":
                self._refuse(
                    [keys[boundary]],
                    f"it does not pay: {estimate.passes} passes would take {-gains[boundary]:.1f} s longer with it",
                )
                del gains[boundary]
        for boundary in sorted(gains, key=lambda each: -gains[each]):
            each = found[boundary]
            assert isinstance(each, EntryFacts)
            missing = self._shelf.make_room(each.bytes, frozenset(keys.values()))
            if missing:
                self._refuse([keys[boundary]], f"spec.freezing.cache.budget is {missing} bytes too small for it")
                continue
            try:
                Entry.lay_out(self._shelf.folder(keys[boundary]), each)
            except OSError as error:
                self._shelf.remove(keys[boundary])
                self._refuse([keys[boundary]], f"{each.bytes} bytes cannot be written: {error.strerror}")

    def _refuse(self, keys: list[str], reason: str) -> None:
        for key in keys:
            self.memory.entries.pop(key, None)
            self.memory.reasons[key] = reason
            self._shelf.release(key)
        _log.info("not cached: %s", reason)
