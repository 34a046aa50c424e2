"""Text classification: one label for each text, with any AutoModelForSequenceClassification."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.labelled_texts import prepare_store
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.models import pretrained, sequence_classifier
from thaw_trainer.tasks.classification import class_predictions, confusion_details, cross_entropy
from thaw_trainer.tasks.classification_metrics import classification_metrics
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask


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

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def collate(self, plan: BatchPlan, pad_token: int, pad_left: bool) -> TextBatch:
        """The batch that a plan describes."""
        input_ids = padded(self.tokens, self.offsets, plan, pad_token, pad_left)
        attention_mask = filled_places(self.lengths, plan, pad_left)
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        return TextBatch(self.split, plan, input_ids, attention_mask, self.label[plan.rows], self.id[plan.rows], weight)


class TextClassification(RowTask[TextBatch]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]

    @cached_property
    def rows(self) -> dict[str, TextRows]:
        """The splits' rows."""
        return {split: TextRows(self.store, split) for split in ("train", "validation", "test")}

    def config(self) -> Any:
        """The model's configuration."""
        facts = self.store.facts
        return sequence_classifier.load_config(self.model_folder, self.spec.model, self.labels, facts["padToken"])

    def build(self) -> nn.Module:
        """See Task."""
        return sequence_classifier.build(self.model_folder, self.config(), self.spec.model)

    def row_source(self) -> "TextClassification":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> TextBatch:
        """See Task."""
        return self.rows[split].collate(plan, self.store.facts["padToken"] or 0, self.store.facts["padLeft"])

    def step(self, model: nn.Module, batch: TextBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows."""
        return cross_entropy(self._logits(model, batch, device), batch, self.spec.training.label_smoothing)

    def outputs(self, model: nn.Module, batch: TextBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, classes]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: TextBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, label and logits [rows, classes]."""
        return class_predictions(batch, outputs)

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        return classification_metrics(predictions["logits"], predictions["label"])

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: the confusion matrix."""
        return confusion_details(predictions, self.labels)

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
