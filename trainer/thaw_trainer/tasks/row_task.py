"""What tasks share whose epochs go over the same prepared rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan, plan_batches, plan_epoch
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.tasks.protocol import Share

EVALUATION_ROWS = 32
"""Rows of a batch that is only measured."""

BatchT = TypeVar("BatchT")


class RowTask(ABC, Generic[BatchT]):
    """A trial's view of a store's rows, as `Task` and `RowSource` want it."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        self.spec = spec
        self.store = PreparedStore(folder)
        self.model_folder = Path(self.store.facts["modelFolder"])
        self.widths = np.asarray(self.store.facts.get("widths", [1]))
        """Length classes; one for rows that are all of a size."""

    @abstractmethod
    def lengths(self, split: str) -> NDArray[np.int32]:
        """The length of each row of a split, in the unit of the classes."""

    @abstractmethod
    def collate(self, split: str, plan: BatchPlan) -> BatchT:
        """See RowSource."""

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[BatchT]:
        """See Task. Rows of a training batch are dealt out to accumulation parts, then to workers."""
        if split != "train":
            return (self.collate(split, plan) for plan in self.sweep(split, share)[share.rank :: share.world])
        training = self.spec.training
        plans = plan_epoch(self.lengths(split), self.widths, training.batch_size, (training.seed, epoch))
        parts = training.gradient_accumulation * share.world
        return (
            self.collate(split, plan.part(accumulated * share.world + share.rank, parts))
            for plan in plans
            for accumulated in range(training.gradient_accumulation)
        )

    def steps_per_epoch(self) -> int:
        """See Task."""
        return len(plan_batches(self.lengths("train"), self.widths, self.spec.training.batch_size))

    def sweep(self, split: str, share: Share) -> list[BatchPlan]:
        """See RowSource."""
        training = self.spec.training
        parts = training.gradient_accumulation * share.world
        batch_rows = training.batch_size // parts if split == "train" else EVALUATION_ROWS
        return plan_batches(self.lengths(split), self.widths, batch_rows)

    def pristine_key(self) -> str:
        """See RowSource. The store's name is a digest of rows, tokenizer or image settings, and weights."""
        model = self.spec.model
        seed = self.spec.training.seed if model.init == "random" else None
        return digest(self.store.folder.name, model.blocks, model.dtype, model.init, seed, self.widths.tolist())
