"""Token classification: a tag for each word (entities, parts of speech), with any AutoModelForTokenClassification."""

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
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.padding import filled_places, padded
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.data.tagged_words import CUT_OFF, NO_TAG, make_tagged_store
from thaw_trainer.models import pretrained, token_classifier
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.tag_metrics import tag_metrics
from thaw_trainer.tasks.token_files import prepare_tokens


@dataclass(frozen=True)
class TaggedBatch:
    """`input_ids`, `attention_mask`, `label` (NO_TAG where a token bears none) and `word` [rows, width]; `id` and
    `weight` (1 counts, 0 fills up) [rows]; `tags`: of every word of each row."""

    split: str
    plan: BatchPlan
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    label: NDArray[np.int64]
    word: NDArray[np.int64]
    tags: list[NDArray[np.int32]]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class TaggedRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.columns = {name: ragged(table[name]) for name in ("input_ids", "label", "word", "tags")}
        self.id = table["id"].to_numpy()

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each row."""
        return np.diff(self.columns["input_ids"][1])

    def collate(self, plan: BatchPlan, pad_token: int, pad_left: bool) -> TaggedBatch:
        """The batch that a plan describes."""
        fills = {"input_ids": pad_token, "label": NO_TAG, "word": -1}
        rectangles = {name: padded(*self.columns[name], plan, fill, pad_left) for name, fill in fills.items()}
        tags, offsets = self.columns["tags"]
        return TaggedBatch(
            self.split,
            plan,
            attention_mask=filled_places(self.lengths, plan, pad_left),
            tags=[tags[offsets[row] : offsets[row + 1]] for row in plan.rows],
            id=self.id[plan.rows],
            weight=(np.arange(len(plan.rows)) < plan.filled).astype(np.float32),
            **rectangles,
        )


class TokenClassification(RowTask[TaggedBatch]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]

    @cached_property
    def rows(self) -> dict[str, TaggedRows]:
        """The splits' rows."""
        return {split: TaggedRows(self.store, split) for split in ("train", "validation", "test")}

    def config(self) -> Any:
        """The model's configuration."""
        facts = self.store.facts
        return token_classifier.load_config(self.model_folder, self.spec.model, self.labels, facts["padToken"])

    def build(self) -> nn.Module:
        """See Task."""
        return token_classifier.build(self.model_folder, self.config(), self.spec.model)

    def row_source(self) -> "TokenClassification":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> TaggedBatch:
        """See RowSource."""
        return self.rows[split].collate(plan, self.store.facts["padToken"] or 0, self.store.facts["padLeft"])

    def step(self, model: nn.Module, batch: TaggedBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over words."""
        label = np.where(batch.weight[:, None] > 0, batch.label, NO_TAG)
        loss = F.cross_entropy(
            self._logits(model, batch, device).flatten(0, 1),
            torch.from_numpy(label).to(device).flatten(),
            ignore_index=NO_TAG,
            label_smoothing=self.spec.training.label_smoothing,
            reduction="sum",
        )
        return loss, float((label != NO_TAG).sum())

    def outputs(self, model: nn.Module, batch: TaggedBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, width, tags]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: TaggedBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, tags and predicted (an array of tag numbers each, one for every word) and loss (summed
        over the words that were read) and read (their number). A word that was cut off is CUT_OFF."""
        logits = outputs["logits"].float().cpu()
        losses = F.cross_entropy(
            logits.transpose(1, 2), torch.from_numpy(batch.label), ignore_index=NO_TAG, reduction="none"
        )
        best = logits.argmax(dim=-1).numpy()
        rows = np.flatnonzero(batch.weight > 0)
        predicted = np.empty(len(rows), dtype=object)
        tags = np.empty(len(rows), dtype=object)
        for place, row in enumerate(rows):
            bears = batch.word[row] >= 0
            predicted[place] = np.full(len(batch.tags[row]), CUT_OFF, dtype=np.int32)
            predicted[place][batch.word[row][bears]] = best[row][bears]
            tags[place] = np.asarray(batch.tags[row])
        return {
            "id": batch.id[rows],
            "tags": tags,
            "predicted": predicted,
            "loss": losses.sum(dim=1).numpy()[rows],
            "read": (batch.word[rows] >= 0).sum(axis=1),
        }

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        return tag_metrics(
            predictions["tags"], predictions["predicted"], predictions["loss"], predictions["read"], self.labels
        )

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: nothing yet."""
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        model.save_pretrained(folder)  # type: ignore[operator]
        token_classifier.load_tokenizer(self.model_folder).save_pretrained(folder)

    @staticmethod
    def _logits(model: nn.Module, batch: TaggedBatch, device: torch.device) -> torch.Tensor:
        logits: torch.Tensor = model(
            input_ids=torch.from_numpy(batch.input_ids).to(device),
            attention_mask=torch.from_numpy(batch.attention_mask).to(device),
        ).logits
        return logits.float()


class TokenClassificationKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_tokens(
            spec,
            files,
            token_classifier.load_tokenizer,
            lambda folder: token_classifier.build_empty(
                token_classifier.load_config(folder, spec.model, ["0", "1"], None)
            ),
            lambda paths, tokenizer, limit: make_tagged_store(spec.data, paths, tokenizer, limit),
        )

    def open(self, spec: FineTuneJobSpec, store: Path) -> TokenClassification:
        """See TaskKind."""
        return TokenClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = TokenClassification(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return token_classifier.build_empty(task.config())


KIND = TokenClassificationKind()
