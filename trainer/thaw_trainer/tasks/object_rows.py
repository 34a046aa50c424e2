"""Images of a store and what is in them as batches."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.tasks.detection_metrics import Truth
from thaw_trainer.tasks.image_rows import pixels_of


@dataclass(frozen=True)
class Objects:
    """What is in an image: `boxes` [objects, 4] as left, top, right, bottom in shares of its sides; `category`
    [objects]."""

    boxes: torch.Tensor
    category: torch.Tensor


@dataclass(frozen=True)
class ObjectBatch:
    """`pixels`: bytes [rows, channels, height, width]; `objects`, `id` and `weight` (1 counts, 0 fills up) of each
    row."""

    split: str
    plan: BatchPlan
    pixels: torch.Tensor
    objects: tuple[Objects, ...]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]

    @property
    def counted(self) -> tuple[Objects, ...]:
        """What is in the rows that count, which are the first."""
        return self.objects[: self.plan.filled]


class ObjectRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.id = table["id"].to_numpy()
        self.boxes, self.category, self.crowd = (ragged(table[name])[0] for name in ("boxes", "category", "crowd"))
        self.ends = ragged(table["category"])[1]
        self.pixels = np.load(store.folder / f"{split}.npy", mmap_mode="r")

    def truth(self, row: int) -> Truth:
        """All boxes of a row."""
        inside = slice(int(self.ends[row]), int(self.ends[row + 1]))
        return Truth(self.boxes.reshape(-1, 4)[inside], self.category[inside], self.crowd[inside])

    def counts(self) -> NDArray[np.int64]:
        """How many boxes of single objects each row has."""
        single = np.concatenate([[0], np.cumsum(self.crowd == 0)])
        return np.diff(single[self.ends])

    def collate(self, plan: BatchPlan) -> ObjectBatch:
        """The batch that a plan describes."""
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        objects = tuple(_singles(self.truth(int(row))) for row in plan.rows)
        return ObjectBatch(self.split, plan, pixels_of(self.pixels, plan), objects, self.id[plan.rows], weight)


def _singles(truth: Truth) -> Objects:
    """Without the boxes around crowds, which are nothing to learn from."""
    single = truth.crowd == 0
    return Objects(torch.from_numpy(truth.boxes[single]), torch.from_numpy(truth.category[single]))
