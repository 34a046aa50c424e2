"""The cache as one worker process uses it: read `Prefix` from top to bottom.

Whether an entry is used never changes a result, so each process decides by itself, and whatever goes wrong with the
cache is a reason to compute instead, never the trial's end.
"""

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan, scattered
from thaw_trainer.data.store import digest
from thaw_trainer.errors import PREFIX_NOT_CACHEABLE, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import autocast
from thaw_trainer.prefix.cut import boundary_of
from thaw_trainer.prefix.entry import VERSION, Entry
from thaw_trainer.prefix.fill import fill
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.prefix.proof import first_difference
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.shelf import Shelf
from thaw_trainer.prefix.survey import NotCacheable, Surveyed, survey
from thaw_trainer.prefix.worth import Estimate, measure_disk, memory_for_pages
from thaw_trainer.tasks.protocol import Batch, RowSource, Task

SPLITS = ("train", "validation")
"""The splits that every trial goes over; the test rows are read once."""

_log = logging.getLogger("thaw.prefix")


@dataclass
class PrefixMemory:
    """What a process has found out, kept between trials."""

    root: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why an entry is not used, by key."""
    proved: dict[tuple[str, frozenset[str]], str | None] = field(default_factory=dict)
    """(key, tensors that are trained) -> the first difference of replay, or None."""
    shelf: Shelf | None = None
    filled_seconds: float = 0.0


@dataclass(frozen=True)
class PrefixSite:
    """What a trial is given to use the cache: its process's memory, and the job's plan."""

    memory: PrefixMemory
    plan: PrefixPlan


class Prefix:
    """One trial's use of the cache."""

    def __init__(self, site: PrefixSite | None, task: Task, spec: FineTuneJobSpec, layout: Layout, gang: Gang) -> None:
        """`site`: None computes everything."""
        self._memory = site.memory if site else PrefixMemory(Path())
        self._plan = site.plan if site else PrefixPlan("never", 0, {})
        self._task, self._rows = task, task.row_source()
        self._training, self._layout, self._gang = spec.training, layout, gang
        self._entries: dict[str, Entry] = {}
        self._replay: Replay | None = None
        self._why = ""
        wanted = SPLITS if self._plan.passes else ()
        self._sweeps = {split: self._rows.sweep(split, gang.share) for split in wanted if self._rows}
        if self._memory.shelf is None:
            self._memory.shelf = Shelf(self._memory.root, self._plan.budget)
        self._shelf = self._memory.shelf

    def prepare(self, model: nn.Module) -> None:
        """Has every planned entry filled; `model` must be pristine, and nothing of it frozen yet.

        Raises:
            TrainerError: PrefixNotCacheable, when the manifest says `always` and it cannot be.
        """
        if not self._sweeps or self._knows_all():
            return
        began = time.perf_counter()
        try:
            for split in SPLITS:
                self._prepare_split(model, split)
        except OSError as error:
            self._refuse([self._key(split, b) for split in SPLITS for b in self._plan.passes], f"the disk: {error}")
        self._memory.filled_seconds += time.perf_counter() - began
        if self._plan.mode == "always":
            for split in SPLITS:
                for boundary in self._plan.passes:
                    if reason := self._memory.reasons.get(self._key(split, boundary)):
                        raise TrainerError(PREFIX_NOT_CACHEABLE, reason, "spec.freezing.cache.mode")

    def enter(
        self, model: nn.Module, train: frozenset[str], moved: frozenset[str], impurity: str | None = None
    ) -> None:
        """Puts stand-ins into a model whose phase begins, where entries serve it.

        Args:
            train: names of the phase's tensors.
            moved: names of all tensors that are no longer the pretrained ones.
            impurity: why what is frozen is no pure function of its input during training.
        """
        self.leave()
        boundary = boundary_of(self._layout, train)
        if not self._plan.passes:
            self._why = "the cache is off" if self._plan.mode == "never" else "no phase has frozen blocks"
        elif not self._sweeps:
            self._why = "the task has other rows in each epoch"
        elif boundary < 1:
            self._why = "no frozen block is below what is trained"
        elif impurity:
            self._why = impurity
        else:
            self._enter(model, boundary, train, moved)

    def leave(self) -> None:
        """Makes the model compute everything again."""
        if self._replay is not None:
            self._replay.remove()
        self._replay, self._entries, self._why = None, {}, ""

    def giving(self, batch: Batch) -> AbstractContextManager[None]:
        """Inside, the model's forward of this batch replays, if its split is cached."""
        if self._replay is None or batch.split not in self._entries:
            return nullcontext()
        entry = self._entries[batch.split]
        return self._giving(self._replay, entry, batch.plan)

    def facts(self) -> dict[str, Any]:
        """What the cache does for this phase, as JSON: blocks that are replayed, bytes, or the reason for none."""
        if self._replay is None:
            return {"blocks": 0, "reason": self._why}
        entries = self._entries.values()
        return {
            "blocks": next(iter(entries)).facts.boundary,
            "bytes": sum(entry.facts.bytes for entry in entries),
            "fillSeconds": round(self._memory.filled_seconds, 3),
        }

    def _giving(self, replay: Replay, entry: Entry, plan: BatchPlan) -> AbstractContextManager[None]:
        facts = entry.facts.classes[plan.width]
        return replay.giving(facts.structures, entry.get(plan, self._gang.device), self._gang.device)

    # Filling.

    def _knows_all(self) -> bool:
        known = self._memory.entries.keys() | self._memory.reasons.keys()
        return all(self._key(split, boundary) in known for split in SPLITS for boundary in self._plan.passes)

    def _key(self, split: str, boundary: int) -> str:
        """Everything that decides the numbers of an entry."""
        device = torch.cuda.get_device_name(self._gang.device) if self._gang.device.type == "cuda" else "cpu"
        versions = (torch.__version__, transformers.__version__)
        batch_rows = len(self._sweeps[split][0].rows)
        return digest(
            VERSION,
            self._source().pristine_key(),
            split,
            boundary,
            batch_rows,
            self._training.precision,
            device,
            versions,
        )

    def _source(self) -> RowSource:
        assert self._rows is not None, "there are sweeps"
        return self._rows

    def _prepare_split(self, model: nn.Module, split: str) -> None:
        rows, sweep = self._source(), self._sweeps[split]
        keys = {boundary: self._key(split, boundary) for boundary in self._plan.passes}

        def run(plan: BatchPlan) -> Any:
            return self._task.predict(model, rows.collate(split, plan), self._gang.device)

        model.eval()
        with torch.inference_mode(), autocast(self._training, self._gang.device):
            with self._shelf.changing():
                for key in keys.values():
                    self._shelf.hold(key)
                entries = self._open_whole(keys, sweep)
                lacking = [b for b in keys if b not in entries and keys[b] not in self._memory.reasons]
                if lacking:
                    found = survey(model, self._layout, lacking, split, sweep, run)
                    self._lay_out(found, keys)
                    entries |= {
                        b: Entry(self._shelf.folder(keys[b]), sweep) for b in lacking if self._is_laid_out(keys[b])
                    }
            incomplete = [entry for entry in entries.values() if not entry.is_complete()]
            if incomplete:
                fill(model, incomplete, run)
        self._memory.entries |= {keys[boundary]: entry for boundary, entry in entries.items()}

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

    def _lay_out(self, found: dict[int, Surveyed | NotCacheable], keys: dict[int, str]) -> None:
        """Makes room for those that pay, the most useful first."""
        disk, memory = measure_disk(self._shelf.root), memory_for_pages()
        gains: dict[int, float] = {}
        for boundary, each in found.items():
            if isinstance(each, NotCacheable):
                self._refuse([keys[boundary]], str(each))
                continue
            estimate = Estimate(each.forward, each.facts.bytes, self._plan.passes[boundary])
            gains[boundary] = estimate.seconds_saved(disk, memory)
            if gains[boundary] <= 0 and self._plan.mode == "auto":
                self._refuse(
                    [keys[boundary]],
                    f"it does not pay: {estimate.passes} passes would take {-gains[boundary]:.1f} s longer with it",
                )
                del gains[boundary]
        for boundary in sorted(gains, key=lambda each: -gains[each]):
            each = found[boundary]
            assert isinstance(each, Surveyed)
            missing = self._shelf.make_room(each.facts.bytes, frozenset(keys.values()))
            if missing:
                self._refuse([keys[boundary]], f"spec.freezing.cache.budget is {missing} bytes too small for it")
                continue
            try:
                Entry.lay_out(self._shelf.folder(keys[boundary]), each.facts)
            except OSError as error:
                self._shelf.remove(keys[boundary])
                self._refuse([keys[boundary]], f"{each.facts.bytes} bytes cannot be written: {error.strerror}")

    def _is_laid_out(self, key: str) -> bool:
        return key not in self._memory.reasons

    def _refuse(self, keys: list[str], reason: str) -> None:
        for key in keys:
            self._memory.entries.pop(key, None)
            self._memory.reasons[key] = reason
            self._shelf.release(key)
        _log.info("not cached: %s", reason)

    # Replaying.

    def _enter(self, model: nn.Module, boundary: int, train: frozenset[str], moved: frozenset[str]) -> None:
        pristine = [b for b in self._plan.passes if b <= boundary and not self._is_moved_below(b, moved)]
        if not pristine:
            self._why = "this trial has trained what is now frozen"
            return
        for each in sorted(pristine, reverse=True):
            found = {s: self._memory.entries[k] for s in SPLITS if (k := self._key(s, each)) in self._memory.entries}
            if "train" not in found:
                self._why = self._memory.reasons.get(self._key("train", each), "")
                continue
            if self._try(model, each, train, found):
                return

    def _is_moved_below(self, boundary: int, moved: frozenset[str]) -> bool:
        return any(self._layout.place[name] < boundary for name in moved)

    def _try(self, model: nn.Module, boundary: int, train: frozenset[str], entries: dict[str, Entry]) -> bool:
        key = (self._key("train", boundary), train)
        known = key in self._memory.proved
        for writable in (False, True):
            names = {
                name for entry in entries.values() for each in entry.facts.classes.values() for name in each.structures
            }
            replay = Replay(model, names, writable)
            try:
                difference = self._memory.proved[key] if known else self._difference(model, replay, entries["train"])
            except RuntimeError as error:  # a model that writes into its tensors in place
                replay.remove()
                difference = f"replay fails: {error}"
                if not writable:
                    continue
            break
        self._memory.proved[key] = difference
        if difference is None:
            self._replay, self._entries = replay, entries
            return True
        replay.remove()
        self._why = f"replay is not what the model computes: {difference}"
        _log.warning("boundary %d: %s", boundary, self._why)
        if self._plan.mode == "always":
            raise TrainerError(PREFIX_NOT_CACHEABLE, self._why, "spec.freezing.cache.mode")
        return False

    def _difference(self, model: nn.Module, replay: Replay, entry: Entry) -> str | None:
        """The proof, on two batches whose widths differ as much as they can."""
        plans = sorted(self._sweeps["train"], key=lambda plan: plan.width)
        for width in (plans[0].width, plans[-1].width):
            batch = self._source().collate("train", scattered([plan for plan in plans if plan.width == width]))

            def step(batch: Batch = batch) -> torch.Tensor:
                with autocast(self._training, self._gang.device):
                    return self._task.step(model, batch, self._gang.device)[0]

            def replayed(batch: Batch = batch) -> torch.Tensor:
                with self._giving(replay, entry, batch.plan):
                    return step(batch)

            difference = first_difference(model, step, replayed)
            if difference is not None:
                return difference
        return None
