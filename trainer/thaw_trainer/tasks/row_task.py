"""What tasks share whose epochs go over the same prepared rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.dealing import EVALUATION_ROWS, Dealer
from thaw_trainer.data.store import PreparedStore, digest
from thaw_trainer.tasks.protocol import Share

BatchT = TypeVar("BatchT")


class RowTask(ABC, Generic[BatchT]):
    """A trial's view of a store's rows, as `Task` and `RowSource` want it."""

    evaluation_tokens: int | None = None
    """Tokens of a batch that is only measured, at most; None: `tokensPerBatch` decides."""

    evaluation_rows: int = EVALUATION_ROWS
    """Rows of such a batch, at most."""

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

    def classes(self, split: str) -> NDArray[np.int64]:
        """Length classes of a split's rows."""
        return self.widths

    def dealer(self, split: str) -> Dealer:
        """Who deals the rows of a split out."""
        tokens = self.spec.data.batching.tokens_per_batch
        return Dealer(self.lengths(split), self.classes(split), self.spec.training, tokens)

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[BatchT]:
        """See Task."""
        if split == "train":
            chosen = self.dealer(split).epoch(epoch, share.rank, share.world)
        else:
            chosen = self.sweep(split, share)[share.rank :: share.world]
        return (self.collate(split, plan) for plan in chosen)

    def steps_per_epoch(self) -> int:
        """See Task."""
        return self.dealer("train").steps_per_epoch(self.spec.cluster.workers_per_trial)

    def sweep(self, split: str, share: Share) -> list[BatchPlan]:
        """See RowSource."""
        dealer = self.dealer(split)
        if split == "train":
            return dealer.training_sweep(share.world)
        return dealer.evaluation_sweep(share.world, self.evaluation_tokens, self.evaluation_rows)

    def pristine_key(self) -> str:
        """See RowSource. The store's name is a digest of rows, tokenizer or image settings, and weights."""
        model = self.spec.model
        seed = self.spec.training.seed if model.init == "random" else None
        return digest(self.store.folder.name, model.blocks, model.dtype, model.init, seed, self.widths.tolist())
