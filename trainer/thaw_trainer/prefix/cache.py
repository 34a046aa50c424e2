"""The cache as a trial uses it: read `Prefix` from top to bottom."""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan, scattered
from thaw_trainer.errors import PREFIX_NOT_CACHEABLE, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import autocast
from thaw_trainer.prefix.cut import boundary_of
from thaw_trainer.prefix.entry import Entry
from thaw_trainer.prefix.memory import PrefixSite, Proof
from thaw_trainer.prefix.proof import first_difference
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.stock import SPLITS, Stock
from thaw_trainer.tasks.protocol import Batch, Task

_log = logging.getLogger("thaw.prefix")


class Prefix:
    """One trial's use of the cache."""

    def __init__(self, site: PrefixSite | None, task: Task, spec: FineTuneJobSpec, layout: Layout, gang: Gang) -> None:
        """`site`: None computes everything."""
        self._task, self._training, self._layout, self._gang = task, spec.training, layout, gang
        self._off = site is None or site.plan.mode == "never"
        rows = task.row_source()
        self._has_rows = rows is not None
        sweeps = {split: rows.sweep(split, gang.share) for split in SPLITS} if rows is not None else {}
        self._stock: Stock | None = None
        if site is not None and rows is not None and site.plan.passes:
            self._stock = Stock(site, task, rows, sweeps, spec, layout, gang)
        self._rows_of_an_epoch = sum(plan.filled for sweep in sweeps.values() for plan in sweep)
        self._entries: dict[str, Entry] = {}
        self._replay: Replay | None = None
        self._why = ""

    def prepare(self, model: nn.Module) -> None:
        """Has every planned entry filled; `model` must be pristine, and nothing of it frozen yet.

        Raises:
            TrainerError: PrefixNotCacheable, when the manifest says `always` and it cannot be.
        """
        if self._stock is not None:
            self._stock.prepare(model)

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
        if self._off:
            self._why = "the cache is off"
        elif boundary < 1:
            self._why = "no frozen block is below what is trained"
        elif not self._has_rows:
            self._why = "the task has other rows in each epoch"
        elif impurity:
            self._why = impurity
        elif self._stock is not None:
            self._enter(self._stock, model, boundary, train, moved)

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
        """What the cache does for an epoch of this phase, as JSON: rows, and either blocks that are replayed, bytes and
        the seconds that computing them would take, or the reason for none."""
        rows = self._rows_of_an_epoch
        if self._replay is None or self._stock is None:
            return {"blocks": 0, "rows": rows, "reason": self._why}
        entries = self._entries.values()
        return {
            "blocks": next(iter(entries)).facts.boundary,
            "rows": rows,
            "bytes": sum(entry.facts.bytes for entry in entries),
            "passSeconds": round(sum(entry.facts.forward for entry in entries), 3),
            "fillSeconds": round(self._stock.memory.filled_seconds, 3),
        }

    def _giving(self, replay: Replay, entry: Entry, plan: BatchPlan) -> AbstractContextManager[None]:
        facts = entry.facts.classes[plan.width]
        return replay.giving(facts.structures, entry.get(plan, self._gang.device), self._gang.device)

    def _enter(
        self, stock: Stock, model: nn.Module, boundary: int, train: frozenset[str], moved: frozenset[str]
    ) -> None:
        """Replays at the highest boundary that has entries and that replay is proved at."""
        lowest_moved = min((self._layout.place[name] for name in moved), default=self._layout.blocks)
        pristine = [each for each in stock.plan.passes if each <= min(boundary, lowest_moved)]
        if not pristine:
            self._why = "this trial has trained what is now frozen"
        for each in sorted(pristine, reverse=True):
            entries = stock.at(each)
            if "train" not in entries:
                self._why = stock.reason_against(each)
            elif self._try(stock, model, each, train, entries):
                return

    def _try(
        self, stock: Stock, model: nn.Module, boundary: int, train: frozenset[str], entries: dict[str, Entry]
    ) -> bool:
        """Replays from here on, if that is proved to be what the model computes."""
        key = (stock.key("train", boundary), train)
        facts = [each for entry in entries.values() for each in entry.facts.classes.values()]
        names = {name for each in facts for name in each.structures}
        if key not in stock.memory.proved:
            stock.memory.proved[key] = self._prove(stock, model, names, entries["train"])
        proof = stock.memory.proved[key]
        if proof.difference is None:
            self._replay, self._entries = Replay(model, names, proof.writable), entries
            return True
        self._why = f"replay is not what the model computes: {proof.difference}"
        _log.warning("boundary %d: %s", boundary, self._why)
        if stock.plan.mode == "always":
            raise TrainerError(PREFIX_NOT_CACHEABLE, self._why, "spec.freezing.cache.mode")
        return False

    def _prove(self, stock: Stock, model: nn.Module, names: set[str], entry: Entry) -> Proof:
        """The proof, on two batches whose widths differ as much as they can. A model that writes into its tensors in
        place fails without memory of its own."""
        rows, device = stock.rows, self._gang.device
        plans = sorted(stock.sweeps["train"], key=lambda plan: plan.width)
        ends = [[plan for plan in plans if plan.width == width] for width in (plans[0].width, plans[-1].width)]
        batches = [rows.collate("train", scattered(plans, index)) for index, plans in enumerate(ends)]

        def step(batch: Batch) -> torch.Tensor:
            with autocast(self._training, device):
                return self._task.step(model, batch, device)[0]

        def replayed(batch: Batch, replay: Replay) -> torch.Tensor:
            with self._giving(replay, entry, batch.plan):
                return step(batch)

        proof = Proof("never tried", False)
        for writable in (False, True):
            replay = Replay(model, names, writable)
            steps = [partial(replayed, batch, replay) for batch in batches]
            proof = Proof(first_difference(model, [partial(step, batch) for batch in batches], steps), writable)
            replay.remove()
            if proof.difference is None:
                break
        return proof
