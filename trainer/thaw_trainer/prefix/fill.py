"""Filling entries: every process of a machine takes the next part that nobody has, until all are there.

A part belongs to who holds its file's lock, which ends with the process: what a process that died has begun is filled
again by another.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import nn

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.prefix.capture import capture
from thaw_trainer.prefix.entry import Entry
from thaw_trainer.prefix.shelf import locked
from thaw_trainer.prefix.structure import describe


def fill(model: nn.Module, entries: Sequence[Entry], run: Callable[[BatchPlan], Any]) -> None:
    """Returns when every part of the entries is there, filled by this process or by another.

    Args:
        entries: of one split, at several boundaries: one forward serves all.
        run: runs the model on a batch.

    Raises:
        OSError: the disk cannot be written.
    """
    parts = range(entries[0].parts)
    while lacking := [part for part in parts if not all(entry.is_filled(part) for entry in entries)]:
        filled = [part for part in lacking if _fill_part(model, entries, part, run)]
        if not filled:
            # Others are at work on all that is left: until the first of them has finished or died.
            # None may be lacking any more: they go on while this process looks.
            for entry in [entry for entry in entries if not entry.is_filled(lacking[0])][:1]:
                with locked(entry.lock_file(lacking[0]), wait=True):
                    pass


def _fill_part(model: nn.Module, entries: Sequence[Entry], part: int, run: Callable[[BatchPlan], Any]) -> bool:
    """Fills a part of those entries that lack it and that no other process is filling; whether there was one."""
    with ExitStack() as locks:
        mine = [
            entry
            for entry in entries
            if not entry.is_filled(part)
            and locks.enter_context(locked(entry.lock_file(part), wait=False))
            and not entry.is_filled(part)
        ]
        if not mine:
            return False
        for plan in mine[0].plans_of(part):
            calls = {name: count for entry in mine for name, count in entry.facts.classes[plan.width].calls.items()}
            outputs = capture(model, lambda plan=plan: run(plan), calls, calls).outputs  # type: ignore[misc]
            for entry in mine:
                recorded = entry.facts.classes[plan.width].recorded
                entry.put(plan, {name: describe(outputs[name])[1] for name in recorded})
        for entry in mine:
            entry.finish(part)
        return True
