"""A few rows of each class: what each boundary would record; and one whole batch: how long it takes to reach it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.prefix.capture import Captured, capture
from thaw_trainer.prefix.cut import Cut, cut_below
from thaw_trainer.prefix.entry import ClassFacts, EntryFacts
from thaw_trainer.prefix.structure import UnknownStructure, describe, tensor_specs

_FEW_ROWS = 3
"""Enough to tell which dimension the rows are in."""


class NotCacheable(Exception):
    """Why a prefix is not cached, for people."""


def survey(
    model: nn.Module,
    layout: Layout,
    boundaries: Sequence[int],
    split: str,
    sweep: Sequence[BatchPlan],
    run: Callable[[BatchPlan], Any],
) -> dict[int, EntryFacts | NotCacheable]:
    """What each boundary would record of a split.

    Args:
        sweep: the split's batches, each row once.
        run: runs the model on one of them.
    """
    cuts = {boundary: cut_below(model, layout, boundary) for boundary in boundaries}
    names = {name for cut in cuts.values() for name in _names(cut)}
    classes: dict[int, dict[int, ClassFacts]] = {boundary: {} for boundary in boundaries}
    refused: dict[int, NotCacheable] = {}
    for width, plan in {plan.width: plan for plan in sweep}.items():
        few = BatchPlan(plan.rows[:_FEW_ROWS], min(plan.filled, _FEW_ROWS), width)
        captured = capture(model, lambda few=few: run(few), names)  # type: ignore[misc]
        rows = sum(each.filled for each in sweep if each.width == width)
        for boundary, cut in cuts.items():
            try:
                structures, recorded = _stand_ins(captured, cut, len(few.rows), len(plan.rows))
            except NotCacheable as reason:
                refused[boundary] = reason
                continue
            calls = {name: captured.calls[name] for name in recorded}
            classes[boundary][width] = ClassFacts(rows, len(plan.rows), structures, recorded, calls)
    seconds = _seconds_to(model, {b: each for b, each in classes.items() if b not in refused}, sweep, run)
    return {
        boundary: refused.get(boundary) or EntryFacts(boundary, split, classes[boundary], len(sweep), seconds[boundary])
        for boundary in boundaries
    }


def _seconds_to(
    model: nn.Module,
    classes: Mapping[int, Mapping[int, ClassFacts]],
    sweep: Sequence[BatchPlan],
    run: Callable[[BatchPlan], Any],
) -> dict[int, float]:
    """Seconds of one pass over the split up to each boundary, from one batch of the class that has most of the work."""
    work = Counter[int]()
    for plan in sweep:
        work[plan.width] += len(plan.rows) * plan.width
    width = work.most_common(1)[0][0]
    plan = next(plan for plan in sweep if plan.width == width)
    ends = {boundary: each[width].calls for boundary, each in classes.items()}
    every = {name: count for calls in ends.values() for name, count in calls.items()}
    if not every:
        return {}
    _wait_for_devices()
    began = time.perf_counter()
    times = capture(model, lambda: run(plan), every, every, wait=_wait_for_devices).times
    share = sum(work.values()) / (len(plan.rows) * width)
    return {boundary: share * (max(times[name] for name in calls) - began) for boundary, calls in ends.items()}


def _wait_for_devices() -> None:
    """A GPU works behind: without, times would be those of giving it its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _names(cut: Cut) -> list[str]:
    return [*cut.inner, *(name for end in cut.ends for name in end)]


def _stand_ins(captured: Captured, cut: Cut, rows: int, batch_rows: int) -> tuple[dict[str, Any], tuple[str, ...]]:
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
    for structure in structures.values():
        for spec in tensor_specs(structure):
            if spec["shape"] and spec["shape"][0] == rows:
                spec["shape"][0] = batch_rows
    return structures, recorded
