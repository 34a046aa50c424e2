"""One forward of each class of rows: what each boundary would record, and how long it takes to reach it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.prefix.capture import capture
from thaw_trainer.prefix.cut import Cut, cut_below
from thaw_trainer.prefix.entry import ClassFacts, EntryFacts
from thaw_trainer.prefix.structure import UnknownStructure, describe, tensor_specs


class NotCacheable(Exception):
    """Why a prefix is not cached, for people."""


@dataclass(frozen=True)
class Surveyed:
    """What an entry at one boundary would be."""

    facts: EntryFacts
    forward: float
    """Seconds of one pass over the split up to the boundary, by one process."""


def survey(
    model: nn.Module,
    layout: Layout,
    boundaries: Sequence[int],
    split: str,
    sweep: Sequence[BatchPlan],
    run: Callable[[BatchPlan], Any],
) -> dict[int, Surveyed | NotCacheable]:
    """What each boundary would record of a split.

    Args:
        sweep: the split's batches, each row once.
        run: runs the model on one of them.
    """
    cuts = {boundary: cut_below(model, layout, boundary) for boundary in boundaries}
    names = {name for cut in cuts.values() for name in _names(cut)}
    classes: dict[int, dict[int, ClassFacts]] = {boundary: {} for boundary in boundaries}
    rates: dict[int, list[float]] = {boundary: [] for boundary in boundaries}
    refused: dict[int, NotCacheable] = {}
    for width, plan in {plan.width: plan for plan in sweep}.items():
        began = time.perf_counter()
        captured = capture(model, lambda plan=plan: run(plan), names)  # type: ignore[misc]
        rows = sum(each.filled for each in sweep if each.width == width)
        for boundary, cut in cuts.items():
            try:
                structures, recorded = _stand_ins(captured, cut, len(plan.rows))
            except NotCacheable as reason:
                refused[boundary] = reason
                continue
            calls = {name: captured.calls[name] for name in recorded}
            classes[boundary][width] = ClassFacts(rows, structures, recorded, calls)
            rates[boundary].append((captured.times[recorded[-1]] - began) / (len(plan.rows) * width))
    work = sum(len(plan.rows) * plan.width for plan in sweep)
    # The first forward of a shape also sets up its kernels: the quickest class tells best.
    return {
        boundary: refused.get(boundary)
        or Surveyed(
            EntryFacts(boundary, split, len(sweep[0].rows), classes[boundary], len(sweep)), work * min(rates[boundary])
        )
        for boundary in boundaries
    }


def _names(cut: Cut) -> list[str]:
    return [*cut.inner, *(name for end in cut.ends for name in end)]


def _stand_ins(captured: Any, cut: Cut, rows: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Structures of all modules below the boundary that are called before its last block has ended, and which of them
    are recorded. What is called later (a norm after the blocks, a decoder's embeddings) computes as ever."""
    recorded = tuple(name for end in cut.ends if (name := captured.last_of(end)) is not None)
    if not recorded:
        raise NotCacheable("the model does not call its blocks")
    below = captured.order[: 1 + max(captured.order.index(name) for name in recorded)]
    structures = {}
    for name in below:
        if name in _names(cut):
            try:
                structures[name] = describe(captured.outputs[name])[0]
            except UnknownStructure as error:
                raise NotCacheable(f"{name} returns a {error}, which is no tensor") from error
    for name in recorded:
        for spec in tensor_specs(structures[name]):
            if not spec["shape"] or spec["shape"][0] not in (rows, 1):
                raise NotCacheable(f"{name} returns {spec['shape']} for {rows} rows: one row's numbers cannot be told")
    return structures, recorded
