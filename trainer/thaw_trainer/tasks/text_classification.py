"""Text classification: labels of a text, or of a pair of texts, with any AutoModelForSequenceClassification."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.steps import TEXT_AUGMENTATION, HideTokens, last_step
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.hidden_tokens import hidden_tokens
from thaw_trainer.data.labelled_texts import make_text_store
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.labels.kind import Labels
from thaw_trainer.labels.registry import find_labels
from thaw_trainer.models import pretrained, sequence_classifier
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions, Share
from thaw_trainer.tasks.row_losses import row_losses, row_weights
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.token_files import prepare_tokens


@dataclass(frozen=True)
class TextBatch:
    """`input_ids`, `attention_mask` and `segments` (None where there is one for all) [rows, width]; `label` [rows], or
    [rows, labels] where a row may have several; `id` and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    segments: NDArray[np.int64] | None
    label: NDArray[Any]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class TextRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str, kind: Labels) -> None:
        self.split, self.facts = split, store.facts
        table = store.table(split)
        self.tokens, self.offsets = ragged(table["input_ids"])
        self.segments = ragged(table["segments"])
        self.label = kind.targets(table["label"], len(self.facts["labels"]))
        self.id = table["id"].to_numpy()

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def collate(self, plan: BatchPlan) -> TextBatch:
        """The batch that a plan describes."""
        left = self.facts["padLeft"]
        return TextBatch(
            self.split,
            plan,
            input_ids=padded(self.tokens, self.offsets, plan, self.facts["padToken"] or 0, left),
            attention_mask=filled_places(self.lengths, plan, left),
            segments=padded(*self.segments, plan, self.facts["padSegment"], left) if len(self.segments[0]) else None,
            label=self.label(plan.rows),
            id=self.id[plan.rows],
            weight=(np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
        )


class TextClassification(RowTask[TextBatch]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]
        self.kind = find_labels(spec.data.labels).fitted(self.store.facts, lambda: self.empty)

    @cached_property
    def empty(self) -> nn.Module:
        """The model without numbers."""
        return sequence_classifier.build_empty(self.config())

    @cached_property
    def reads_segments(self) -> bool:
        """Whether the model is told which text a token is of."""
        return sequence_classifier.reads_segments(self.config())

    @cached_property
    def rows(self) -> dict[str, TextRows]:
        """The splits' rows."""
        return {split: TextRows(self.store, split, self.kind) for split in ("train", "validation", "test")}

    def config(self) -> Any:
        """The model's configuration."""
        problem = find_labels(self.spec.data.labels).problem_type
        pad = self.store.facts["padToken"]
        return sequence_classifier.load_config(self.model_folder, self.spec.model, self.labels, pad, problem)

    def build(self) -> nn.Module:
        """See Task."""
        model = sequence_classifier.build(self.model_folder, self.config(), self.spec.model)
        if self.spec.model.init == "pretrained":
            self.kind.adopt(model, self.model_folder)
        return model

    def row_source(self) -> "TextClassification | None":
        """See Task: rows whose tokens are hidden are new ones in each epoch."""
        return None if self._hiding else self

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[TextBatch]:
        """See Task."""
        batches, hiding = super().batches(split, epoch, share), self._hiding
        if split != "train" or hiding is None:
            return batches
        facts, seed = self.store.facts, self.spec.training.seed
        return (
            replace(
                batch,
                input_ids=hidden_tokens(
                    batch.input_ids,
                    batch.id,
                    hiding.probability,
                    (seed, epoch),
                    facts["hiddenToken"],
                    facts["specialTokens"],
                ),
            )
            for batch in batches
        )

    @property
    def _hiding(self) -> HideTokens | None:
        found: HideTokens | None = last_step(self.spec.data.augment, TEXT_AUGMENTATION, "hideTokens")
        return found

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> TextBatch:
        """See Task."""
        return self.rows[split].collate(plan)

    def step(self, model: nn.Module, batch: TextBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: the labels' loss over rows."""
        training = self.spec.training
        counted = row_weights(batch.weight, batch.label, self.store.facts, training)
        label, weight = (torch.from_numpy(each).to(device) for each in (batch.label, counted))

        def losses_of(logits: torch.Tensor) -> torch.Tensor:
            return self.kind.losses(logits, label, training.label_smoothing)

        losses = row_losses(lambda: self._logits(model, batch, device), losses_of, training)
        return (losses * weight).sum(), float(counted.sum())

    def outputs(self, model: nn.Module, batch: TextBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, outputs]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: TextBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, label and what the model says, see Labels.told."""
        counted = batch.weight > 0
        logits = outputs["logits"].cpu().numpy()
        return {"id": batch.id[counted]} | self.kind.told(logits[counted], batch.label[counted])

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        return self.kind.metrics(predictions)

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: see the labels'."""
        return self.kind.details(predictions, self.labels)

    def finish(self, model: nn.Module) -> None:
        """See Finishes."""
        self.kind.release(model)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        model.save_pretrained(folder)  # type: ignore[operator]
        tokenizer = pretrained.load_tokenizer(self.model_folder)
        read = [name for name in tokenizer.model_input_names if self.reads_segments or name != "token_type_ids"]
        if read != tokenizer.model_input_names:
            # Some tokenizers give segments that their model has no use for.
            tokenizer = pretrained.load_tokenizer(self.model_folder, model_input_names=read)
        tokenizer.save_pretrained(folder)

    def _logits(self, model: nn.Module, batch: TextBatch, device: torch.device) -> torch.Tensor:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if batch.segments is not None and self.reads_segments:
            inputs["token_type_ids"] = batch.segments
        logits: torch.Tensor = model(
            **{name: torch.from_numpy(each).to(device) for name, each in inputs.items()}
        ).logits
        return logits.float()


class TextClassificationKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_tokens(
            spec,
            files,
            pretrained.load_tokenizer,
            lambda folder: sequence_classifier.build_empty(
                sequence_classifier.load_config(folder, spec.model, ["0", "1"], None)
            ),
            lambda paths, tokenizer, limit: make_text_store(spec.data, paths, tokenizer, limit),
        )

    def open(self, spec: FineTuneJobSpec, store: Path) -> TextClassification:
        """See TaskKind."""
        return TextClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = TextClassification(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return task.empty


KIND = TextClassificationKind()
