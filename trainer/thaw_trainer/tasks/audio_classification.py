"""Audio classification: one label for each sound (keywords, speakers, languages), with wav2vec2 and its kin."""

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
from thaw_trainer.data.labelled_sounds import make_store
from thaw_trainer.models import audio_classifier, pretrained
from thaw_trainer.models.sound_settings import SoundSettings
from thaw_trainer.tasks.classification import class_predictions, confusion_details, cross_entropy
from thaw_trainer.tasks.classification_metrics import classification_metrics
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.sound_rows import SoundBatch, SoundRows, prepare_sounds


@dataclass(frozen=True)
class LabelledSounds(SoundBatch):
    """A batch of sounds with the number of each row's class."""

    label: NDArray[np.int64]


class AudioClassification(RowTask[LabelledSounds]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]
        self.settings = SoundSettings(**self.store.facts["sound"])

    @cached_property
    def rows(self) -> dict[str, tuple[SoundRows, NDArray[np.int64]]]:
        """Sounds and labels of each split."""
        tables = {split: self.store.table(split) for split in ("train", "validation", "test")}
        return {
            split: (SoundRows(table, split, self.settings), table["label"].to_numpy())
            for split, table in tables.items()
        }

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return audio_classifier.load_config(self.model_folder, self.spec.model, self.labels)

    def build(self) -> nn.Module:
        """See Task."""
        return audio_classifier.build(self.model_folder, self.config, self.spec.model)

    def row_source(self) -> "AudioClassification":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tenths of a second."""
        return self.rows[split][0].lengths

    def collate(self, split: str, plan: BatchPlan) -> LabelledSounds:
        """See RowSource."""
        sounds, labels = self.rows[split]
        return LabelledSounds(**vars(sounds.collate(plan)), label=labels[plan.rows])

    def step(self, model: nn.Module, batch: LabelledSounds, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows."""
        return cross_entropy(self._logits(model, batch, device), batch, self.spec.training.label_smoothing)

    def outputs(self, model: nn.Module, batch: LabelledSounds, device: torch.device) -> Outputs:
        """See Task: logits [rows, classes]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: LabelledSounds, outputs: Outputs) -> Predictions:
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
        audio_classifier.export(model, folder, self.settings)

    def _logits(self, model: nn.Module, batch: LabelledSounds, device: torch.device) -> torch.Tensor:
        inputs = batch.inputs(self.settings, getattr(torch, self.spec.model.dtype), device)
        logits: torch.Tensor = model(**inputs).logits
        return logits.float()


class AudioClassificationKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_sounds(spec, files, "label", make_store)

    def open(self, spec: FineTuneJobSpec, store: Path) -> AudioClassification:
        """See TaskKind."""
        return AudioClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = AudioClassification(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return audio_classifier.build_empty(task.config)


KIND = AudioClassificationKind()
