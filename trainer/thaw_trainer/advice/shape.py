"""A model as counts: what a cost can be computed from."""

from dataclasses import dataclass
from math import ceil
from typing import Literal


@dataclass(frozen=True)
class Stack:
    """Blocks that are alike, one above the other."""

    blocks: int
    parameters: int
    """Numbers of one block, on average."""
    hidden: int
    inner: int
    """Width inside the feed-forward layers."""
    gated: bool = False
    """Whether the feed-forward layers have a gate (LLaMA's do)."""
    reads: Literal["input", "target"] = "input"
    """Whose positions go through it: a decoder beside an encoder reads the target."""
    macs: int = 0
    """Multiplications of one block for a row, where they are not its numbers times the positions (convolutions)."""
    floats: int = 0
    """Numbers that one such block keeps of a row for the backward."""


@dataclass(frozen=True)
class Shape:
    """Stem, stacks of blocks from the lowest up, and what is above them; without the new head of a task."""

    stem: int
    """Numbers below the blocks."""
    head: int
    """Numbers above them."""
    stacks: tuple[Stack, ...]
    vocabulary: int = 0
    """Tokens among which each position of the target is told apart; 0: the model writes nothing."""
    positions: int = 0
    """Positions of every row, where they do not depend on its length."""
    positions_per_unit: float = 1.0
    """Positions for each unit of a row's length."""
    stem_macs: int = 0
    """Multiplications of a stem that convolves: for a unit of length, or for a row where all have one length."""

    @property
    def parameters(self) -> int:
        """Numbers of the whole model."""
        return self.stem + self.head + sum(stack.blocks * stack.parameters for stack in self.stacks)

    @property
    def blocks(self) -> int:
        """Blocks of all stacks."""
        return sum(stack.blocks for stack in self.stacks)

    @property
    def has_head(self) -> bool:
        """Whether something is trained when the head is: an output layer that is tied to the embeddings is no head."""
        return not self.vocabulary or self.head >= self.vocabulary * self.stacks[-1].hidden

    def input_positions(self, length: float) -> int:
        """Positions that the lowest block sees of a row of some length."""
        return self.positions or ceil(length * self.positions_per_unit)
