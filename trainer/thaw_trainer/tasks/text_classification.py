"""Text classification: one label for each text, with any AutoModelForSequenceClassification."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan, plan_batches, plan_epoch
from thaw_trainer.data.labelled_texts import prepare_store
from thaw_trainer.data.store import PreparedStore, digest, ragged
from thaw_trainer.models import pretrained, sequence_classifier
from thaw_trainer.tasks.classification_metrics import classification_metrics, confusion_counts
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions, Share

_EVALUATION_ROWS = 32


@dataclass(frozen=True)
class TextBatch:
    """`input_ids` and `attention_mask` [rows, width]; `label`, `id` and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    label: NDArray[np.int64]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class TextRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.tokens, self.offsets = ragged(table["input_ids"])
        self.label = table["label"].to_numpy()
        self.id = table["id"].to_numpy()

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def collate(self, plan: BatchPlan, pad_token: int, pad_left: bool) -> TextBatch:
        """The batch that a plan describes."""
        shape = (len(plan.rows), plan.width)
        input_ids = np.full(shape, pad_token, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        for place, row in enumerate(plan.rows):
            tokens = self.tokens[self.offsets[row] : self.offsets[row + 1]]
            span = slice(plan.width - len(tokens), None) if pad_left else slice(0, len(tokens))
            input_ids[place, span] = tokens
            attention_mask[place, span] = 1
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        return TextBatch(self.split, plan, input_ids, attention_mask, self.label[plan.rows], self.id[plan.rows], weight)


class TextClassification:
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        self.spec = spec
        self.store = PreparedStore(folder)
        self.labels: list[str] = self.store.facts["labels"]
        self.model_folder = Path(self.store.facts["modelFolder"])
        self.widths = np.asarray(self.store.facts["widths"])

    @cached_property
    def rows(self) -> dict[str, TextRows]:
        """The splits' rows."""
        return {split: TextRows(self.store, split) for split in ("train", "validation", "test")}

    def config(self) -> Any:
        """The model's configuration."""
        facts = self.store.facts
        return sequence_classifier.load_config(self.model_folder, self.spec.model, self.labels, facts["padToken"])

    def build(self) -> nn.Module:
        """See RowSource."""
        return sequence_classifier.build(self.model_folder, self.config(), self.spec.model)

    def steps_per_epoch(self) -> int:
        """See Task."""
        return len(plan_batches(self.rows["train"].lengths, self.widths, self.spec.training.batch_size))

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[TextBatch]:
        """See Task. Rows of a training batch are dealt out to accumulation parts, then to workers."""
        training, rows = self.spec.training, self.rows[split]
        if split == "train":
            plans = plan_epoch(rows.lengths, self.widths, training.batch_size, (training.seed, epoch))
            parts = training.gradient_accumulation * share.world
            chosen = [
                plan.part(accumulated * share.world + share.rank, parts)
                for plan in plans
                for accumulated in range(training.gradient_accumulation)
            ]
        else:
            chosen = self.sweep(split, share)[share.rank :: share.world]
        return (self.collate(split, plan) for plan in chosen)

    def row_source(self) -> "TextClassification":
        """See Task."""
        return self

    def sweep(self, split: str, share: Share) -> list[BatchPlan]:
        """See RowSource."""
        training = self.spec.training
        parts = training.gradient_accumulation * share.world
        batch_rows = training.batch_size // parts if split == "train" else _EVALUATION_ROWS
        return plan_batches(self.rows[split].lengths, self.widths, batch_rows)

    def collate(self, split: str, plan: BatchPlan) -> TextBatch:
        """See Task."""
        return self.rows[split].collate(plan, self.store.facts["padToken"] or 0, self.store.facts["padLeft"])

    def pristine_key(self) -> str:
        """See RowSource. The store's name is a digest of rows, tokenizer and weights."""
        model = self.spec.model
        seed = self.spec.training.seed if model.init == "random" else None
        return digest(self.store.folder.name, model.blocks, model.dtype, model.init, seed, self.widths.tolist())

    def step(self, model: nn.Module, batch: TextBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows."""
        losses = F.cross_entropy(
            self._logits(model, batch, device),  # [rows, classes]
            torch.from_numpy(batch.label).to(device),
            label_smoothing=self.spec.training.label_smoothing,
            reduction="none",
        )
        return (losses * torch.from_numpy(batch.weight).to(device)).sum(), float(batch.weight.sum())

    def outputs(self, model: nn.Module, batch: TextBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, classes]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: TextBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, label and logits [rows, classes]."""
        counted = batch.weight > 0
        logits = outputs["logits"].cpu().numpy()
        return {"id": batch.id[counted], "label": batch.label[counted], "logits": logits[counted]}

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        return classification_metrics(predictions["logits"], predictions["label"])

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: the confusion matrix, rows are true labels."""
        predicted = predictions["logits"].argmax(axis=1)
        counts = confusion_counts(predicted, predictions["label"], len(self.labels))
        return {"confusion": {"labels": self.labels, "matrix": counts.tolist()}}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        model.save_pretrained(folder)  # type: ignore[operator]
        pretrained.load_tokenizer(self.model_folder).save_pretrained(folder)

    @staticmethod
    def _logits(model: nn.Module, batch: TextBatch, device: torch.device) -> torch.Tensor:
        logits: torch.Tensor = model(
            input_ids=torch.from_numpy(batch.input_ids).to(device),
            attention_mask=torch.from_numpy(batch.attention_mask).to(device),
        ).logits
        return logits.float()


class TextClassificationKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_store(spec, files.roots, files.stores).folder

    def open(self, spec: FineTuneJobSpec, store: Path) -> TextClassification:
        """See TaskKind."""
        return TextClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = TextClassification(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return sequence_classifier.build_empty(task.config())


KIND = TextClassificationKind()
