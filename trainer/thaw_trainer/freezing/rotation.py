"""Rotation: a phase's blocks trained a few at a time, in turns.

LISA (arXiv 2403.17919) draws the blocks of each turn anew; BAdam (arXiv 2404.02827) goes through them in an order. What
is trained in a turn is a function of the seed and the turn's number, so that a resumed run has the same turns.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from thaw_api.freezing import IntervalSpec, RotationSpec
from thaw_trainer.errors import SCHEDULE_INVALID, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.selectors import select


@dataclass(frozen=True)
class Rotation:
    """A rotation resolved against a model."""

    blocks: tuple[frozenset[str], ...] = field(repr=False)
    """The tensors of each block that takes turns, from the bottom up."""
    always: frozenset[str] = field(repr=False)
    """Tensors that are trained in every turn."""
    at_a_time: int
    order: Literal["random", "shuffled", "ascending", "descending"]
    every: IntervalSpec
    seed: int

    def trained_in(self, turn: int) -> frozenset[str]:
        """The tensors that turn `turn` (from 0) trains."""
        return self.always.union(*(self.blocks[number] for number in self.numbers_in(turn)))

    def numbers_in(self, turn: int) -> list[int]:
        """Which of `blocks` turn `turn` trains."""
        count = len(self.blocks)
        if self.order == "random":
            return Random(f"{self.seed}/{turn}").sample(range(count), self.at_a_time)
        order, first = list(range(count)), turn * self.at_a_time
        if self.order == "descending":
            order.reverse()
        if self.order == "shuffled":
            turns = -(-count // self.at_a_time)
            Random(f"{self.seed}/{turn // turns}").shuffle(order)
            first = turn % turns * self.at_a_time
        return [order[(first + place) % count] for place in range(self.at_a_time)]


def steps_of(every: IntervalSpec, steps_per_epoch: int) -> int:
    """Optimizer steps of a turn or an interval."""
    return every.steps or (every.epochs or 1) * steps_per_epoch


def resolve_rotation(spec: RotationSpec, train: frozenset[str], layout: Layout, seed: int, where: str) -> Rotation:
    """The rotation of a phase that trains the tensors `train` over all of its turns.

    Args:
        where: path of `spec`, for errors.

    Raises:
        TrainerError: ScheduleInvalid: a turn wants more blocks than there are; SelectorMatchesNothing.
    """
    always = select(layout, spec.always, f"{where}.always") if spec.always else frozenset[str]()
    by_block: dict[int, set[str]] = {}
    for name in train - always:
        by_block.setdefault(layout.place[name], set()).add(name)
    blocks = tuple(frozenset(by_block[place]) for place in range(layout.blocks) if place in by_block)
    if spec.blocks > len(blocks):
        raise TrainerError(
            SCHEDULE_INVALID, f"{spec.blocks} blocks a turn, but the phase has {len(blocks)} to choose from", where
        )
    return Rotation(blocks, train.difference(*blocks), spec.blocks, spec.order, spec.every, seed)
