"""What tasks share whose model writes texts, token after token, whatever it reads: targets, loss, texts and metrics."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.schedule_errors import choosing_metrics
from thaw_api.tasks import TASKS
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import ragged
from thaw_trainer.models.counted_only import CountedOnly
from thaw_trainer.tasks.protocol import Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.token_losses import token_losses


@dataclass(frozen=True)
class TargetBatch:
    """What is to be written: `decoder_input_ids` [rows, target width], padded on the right.

    The n tokens that count: each is predicted in a row (`rows` [n]) and a place in it (`places` [n]), as `targets` [n].
    `texts`: what should be written, of each row. `id` and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    decoder_input_ids: NDArray[np.int64]
    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    texts: list[str]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class TargetRows:
    """The targets of one split: columns `id`, `labels` (tokens) and the text, mapped from the store."""

    def __init__(self, table: pa.Table, split: str, text: str, pad_token: int) -> None:
        """`text`: name of the texts' column."""
        self.split, self.pad_token = split, pad_token
        self.targets, self.offsets = ragged(table["labels"])
        self.texts, self.id = table[text], table["id"].to_numpy()

    def collate(self, plan: BatchPlan, width: int, shift: Callable[[torch.Tensor], torch.Tensor]) -> TargetBatch:
        """The targets of the batch that a plan describes.

        Args:
            width: tokens that they are padded to.
            shift: what a decoder reads when it is to write so many rows of tokens.
        """
        own = BatchPlan(plan.rows, plan.filled, width)
        targets = padded(self.targets, self.offsets, own, self.pad_token)
        counted = filled_places(np.diff(self.offsets), own)
        counted[plan.filled :] = 0
        rows, places = counted.nonzero()
        return TargetBatch(
            split=self.split,
            plan=plan,
            decoder_input_ids=shift(torch.from_numpy(targets)).numpy(),
            rows=rows,
            places=places,
            targets=targets[rows, places],
            texts=[self.texts[int(row)].as_py() for row in plan.rows],
            id=self.id[plan.rows],
            weight=(np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
        )


WrittenT = TypeVar("WrittenT", bound=TargetBatch)


class WritingTask(RowTask[WrittenT]):
    """One trial's view of the rows and the model."""

    evaluation_tokens = 2048  # the logits of about so many are held at once
    text_columns: ClassVar[tuple[str, str]] = ("target", "written")
    """What predictions call the text that should be written, and the one that was."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.counted_only = CountedOnly()
        entry = TASKS[spec.task]
        self._always_writes = any((name or entry.objective) in entry.text_metrics for _, name in choosing_metrics(spec))

    @staticmethod
    @abstractmethod
    def text_metrics(targets: list[str], written: list[str], /) -> dict[str, float]:
        """What is measured of the texts."""

    @abstractmethod
    def decoded(self, tokens: torch.Tensor) -> list[str]:
        """The texts of rows of tokens."""

    @abstractmethod
    def generate(self, model: nn.Module, batch: WrittenT, device: torch.device) -> torch.Tensor:
        """What the model writes for the rows that count, as tokens [rows, longest]."""

    @abstractmethod
    def inputs(self, batch: WrittenT, device: torch.device) -> dict[str, torch.Tensor]:
        """What the model reads, but for what its decoder does."""

    def step(self, model: nn.Module, batch: WrittenT, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over the tokens of the targets."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets, self.spec.training.label_smoothing)
        return losses.sum(), float(len(batch.targets))

    def outputs(self, model: nn.Module, batch: WrittenT, device: torch.device) -> Outputs:
        """See Task: the loss of each row, summed over its target's tokens [rows]."""
        logits, targets = self._logits(model, batch, device), torch.from_numpy(batch.targets).to(device)
        losses = token_losses(logits, targets).double()
        rows, nothing = torch.from_numpy(batch.rows).to(device), torch.zeros(len(batch.id), device=device).double()
        return {"loss": nothing.index_add(0, rows, losses)}

    def write(self, model: nn.Module, batch: WrittenT, device: torch.device, full: bool) -> Outputs:
        """See WritesText: `written`, tokens of the rows that count [rows, longest]."""
        if not (full or self._always_writes):
            return {}
        return {"written": self.generate(model, batch, device)}

    def predictions(self, batch: WrittenT, outputs: Outputs) -> Predictions:
        """See Task: columns id, tokens (of the target) and loss (summed over them); both texts, under the names of
        `text_columns`, where they were written."""
        counted = batch.weight > 0
        tokens = np.bincount(batch.rows, minlength=len(batch.id))
        columns = {"id": batch.id, "tokens": tokens, "loss": outputs["loss"].cpu().numpy()}
        found = {name: column[counted] for name, column in columns.items()}
        if "written" in outputs:
            target, written = self.text_columns
            found[target] = np.asarray(batch.texts, dtype=object)[counted]
            found[written] = np.empty(len(found["id"]), dtype=object)
            found[written][:] = self.decoded(outputs["written"])
        return found

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task: those of texts where they were written."""
        loss = float(predictions["loss"].sum()) / int(predictions["tokens"].sum())
        target, written = self.text_columns
        if written not in predictions:
            return {"loss": loss}
        return {"loss": loss} | self.text_metrics(list(predictions[target]), list(predictions[written]))

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task."""
        return {"tokens": int(predictions["tokens"].sum())}

    def _logits(self, model: nn.Module, batch: WrittenT, device: torch.device) -> torch.Tensor:
        """Logits [n, vocabulary] of the tokens that count. The decoder is causal and padded on its right, so it needs
        no mask."""
        inputs = self.inputs(batch, device)
        inputs["decoder_input_ids"] = torch.from_numpy(batch.decoder_input_ids).to(device)
        return self.counted_only.logits(
            lambda: model(**inputs, use_cache=False),
            torch.from_numpy(batch.rows).to(device),
            torch.from_numpy(batch.places).to(device),
        )
