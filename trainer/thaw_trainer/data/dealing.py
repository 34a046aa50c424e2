"""Which batches a worker gets of a split, whatever its rows are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw_api.training import TrainingSpec
from thaw_trainer.data.batches import BatchPlan, Rows, plan_batches, plan_epoch, rows_by_class

EVALUATION_ROWS = 32
"""Rows of a batch that is only measured."""


@dataclass(frozen=True)
class Dealer:
    """Deals the rows of one split out to workers."""

    lengths: NDArray[np.int32]
    """Tokens of each row."""
    widths: NDArray[np.int64]
    """Length classes."""
    training: TrainingSpec
    tokens_per_batch: int | None = None
    """Tokens of one optimizer step's batch at most; see `rows_by_class`."""

    def steps_per_epoch(self, world: int) -> int:
        """Optimizer steps of an epoch that so many workers train together."""
        return len(plan_batches(self.lengths, self.widths, self._step_rows(world)))

    def epoch(self, epoch: int, rank: int, world: int) -> list[BatchPlan]:
        """A worker's batches of a training epoch: each step's rows are dealt out to accumulation parts, then to
        workers."""
        plans = plan_epoch(self.lengths, self.widths, self._step_rows(world), (self.training.seed, epoch))
        accumulated = self.training.gradient_accumulation
        return [plan.part(part * world + rank, accumulated * world) for plan in plans for part in range(accumulated)]

    def training_sweep(self, world: int) -> list[BatchPlan]:
        """Each row once, in batches as large as a worker's in training."""
        return plan_batches(self.lengths, self.widths, self._step_rows(world) // self._parts(world))

    def evaluation_sweep(self, world: int, tokens: int | None = None, most: int = EVALUATION_ROWS) -> list[BatchPlan]:
        """Each row once, in batches that are to be measured; none has more tokens than a worker's in training may have.

        Args:
            tokens: of a batch at most; None: as many as there are.
            most: rows of a batch at most.
        """
        own = self.tokens_per_batch // self._parts(world) if self.tokens_per_batch else None
        limits = [limit for limit in (own, tokens) if limit is not None]
        rows = rows_by_class(self.widths, most, tokens=min(limits, default=None))
        return plan_batches(self.lengths, self.widths, rows)

    def _step_rows(self, world: int) -> Rows:
        return rows_by_class(self.widths, self.training.batch_size, self._parts(world), self.tokens_per_batch)

    def _parts(self, world: int) -> int:
        return self.training.gradient_accumulation * world
