"""What is trained on what: a manifest's settings, as far as they cost."""

from dataclasses import dataclass, replace
from typing import Literal

Part = Literal["all", "head"] | int
"""What a part of a run trains: everything, the head alone, or the head and so many top blocks."""


@dataclass(frozen=True)
class Stretch:
    """A part of a run in which the same is trained."""

    epochs: float
    part: Part = "all"


@dataclass(frozen=True)
class Adapters:
    """An adapter in the blocks, instead of their own numbers."""

    rank: int
    """Of the low-rank update; 0: a factor for each number (ia3)."""


@dataclass(frozen=True)
class Work:
    """One trial."""

    rows: int
    """Rows that are trained on."""
    length: float
    """Of a row: tokens, or seconds of a sound."""
    target: int = 64
    """Tokens of a target that is written."""
    stretches: tuple[Stretch, ...] = (Stretch(3.0),)
    batch_rows: int = 32
    """Rows that are computed at a time."""
    adapters: Adapters | None = None
    cached: bool = True
    """Whether what lies below the lowest trained tensor is computed once."""
    moments: int = 2
    """Numbers that the optimizer keeps of each trained one."""
    weight_bytes: int = 4
    precision: Literal["float32", "bfloat16"] = "float32"
    recomputes: bool = False
    """Whether blocks keep their inputs alone (`activationCheckpointing`)."""

    @property
    def epochs(self) -> float:
        """Epochs of all stretches."""
        return sum(stretch.epochs for stretch in self.stretches)

    def training(self, part: Part, adapters: Adapters | None = None) -> "Work":
        """The same, with one part trained from beginning to end."""
        return replace(self, stretches=(Stretch(self.epochs, part),), adapters=adapters)
