"""Audio classification: one label for each sound (keywords, speakers, languages), with wav2vec2 and its kin, or AST."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.data import DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.labelled_sounds import make_spectra_store, make_store
from thaw_trainer.data.spectra import Spectra
from thaw_trainer.data.store import Made, PreparedStore
from thaw_trainer.models import audio_classifier, pretrained
from thaw_trainer.models.sound_settings import SoundSettings, feature_extractor
from thaw_trainer.tasks.classification import class_predictions, confusion_details, cross_entropy
from thaw_trainer.tasks.classification_metrics import classification_metrics
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.sound_rows import SoundBatch, SoundRows, prepare_sounds
from thaw_trainer.uris import resolve_model


@dataclass(frozen=True)
class LabelledSounds(SoundBatch):
    """A batch of sounds with the number of each row's class."""

    label: NDArray[np.int64]


@dataclass(frozen=True)
class LabelledSpectra:
    """A batch of spectra [rows, frames, bins] with the number of each row's class; `id` and `weight` [rows]."""

    split: str
    plan: BatchPlan
    spectra: NDArray[np.float32]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]
    label: NDArray[np.int64]


LabelledT = TypeVar("LabelledT", LabelledSounds, LabelledSpectra)


class AudioClassification(RowTask[LabelledT]):
    """One trial's view of the rows and the model, whatever it reads."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]
        self.tables = {split: self.store.table(split) for split in ("train", "validation", "test")}

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return audio_classifier.load_config(self.model_folder, self.spec.model, self.labels)

    @abstractmethod
    def inputs(self, batch: LabelledT, device: torch.device) -> dict[str, torch.Tensor]:
        """What the model is called with."""

    @property
    @abstractmethod
    def extractor(self) -> Any:
        """transformers' feature extractor, which does to a sound what the batches do."""

    def build(self) -> nn.Module:
        """See Task."""
        return audio_classifier.build(self.model_folder, self.config, self.spec.model)

    def row_source(self) -> "AudioClassification[LabelledT]":
        """See Task."""
        return self

    def step(self, model: nn.Module, batch: LabelledT, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows."""
        return cross_entropy(
            lambda: self._logits(model, batch, device), batch, self.store.facts, self.spec.training, device
        )

    def outputs(self, model: nn.Module, batch: LabelledT, device: torch.device) -> Outputs:
        """See Task: logits [rows, classes]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: LabelledT, outputs: Outputs) -> Predictions:
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
        audio_classifier.export(model, folder, self.extractor)

    def _logits(self, model: nn.Module, batch: LabelledT, device: torch.device) -> torch.Tensor:
        logits: torch.Tensor = model(**self.inputs(batch, device)).logits
        return logits.float()


class SampleClassification(AudioClassification[LabelledSounds]):
    """That of a model that reads samples."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.settings = SoundSettings(**self.store.facts["sound"])

    @cached_property
    def rows(self) -> dict[str, tuple[SoundRows, NDArray[np.int64]]]:
        """Sounds and labels of each split."""
        return {
            split: (SoundRows(table, split, self.settings), table["label"].to_numpy())
            for split, table in self.tables.items()
        }

    @property
    def extractor(self) -> Any:
        """See AudioClassification."""
        return feature_extractor(self.settings)

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tenths of a second."""
        return self.rows[split][0].lengths

    def collate(self, split: str, plan: BatchPlan) -> LabelledSounds:
        """See RowSource."""
        sounds, labels = self.rows[split]
        return LabelledSounds(**vars(sounds.collate(plan)), label=labels[plan.rows])

    def inputs(self, batch: LabelledSounds, device: torch.device) -> dict[str, torch.Tensor]:
        """See AudioClassification."""
        return batch.inputs(self.settings, getattr(torch, self.spec.model.dtype), device)


class SpectrumClassification(AudioClassification[LabelledSpectra]):
    """That of a model that reads spectra, all of one size."""

    @cached_property
    def rows(self) -> dict[str, Spectra]:
        """Spectra of each split."""
        facts = self.store.facts
        return {
            split: Spectra(table["spectrum"], facts["bins"], facts["frames"], by_frame=True)
            for split, table in self.tables.items()
        }

    @property
    def extractor(self) -> Any:
        """See AudioClassification."""
        return audio_classifier.spectra_extractor(self.model_folder, self.config)

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: all of one class."""
        return np.ones(len(self.rows[split]), dtype=np.int32)

    def collate(self, split: str, plan: BatchPlan) -> LabelledSpectra:
        """See RowSource."""
        table = self.tables[split]
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        own = {name: table[name].to_numpy()[plan.rows] for name in ("id", "label")}
        return LabelledSpectra(split=split, plan=plan, spectra=self.rows[split].batch(plan.rows), weight=weight, **own)

    def inputs(self, batch: LabelledSpectra, device: torch.device) -> dict[str, torch.Tensor]:
        """See AudioClassification."""
        return {"input_values": torch.from_numpy(batch.spectra).to(device, getattr(torch, self.spec.model.dtype))}


class AudioClassificationKind:
    """See TaskKind. The model's configuration decides what a sound is kept as."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        folder = resolve_model(spec.model.uri, pretrained.URI_FIELD, files.roots)
        config = pretrained.load_config(folder)
        if not audio_classifier.reads_spectra(config):
            return prepare_sounds(spec, files, "label", make_store)

        def make(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
            return make_spectra_store(data, paths, audio_classifier.spectra_extractor(folder, config))

        return prepare_sounds(spec, files, "label", make)

    def open(self, spec: FineTuneJobSpec, store: Path) -> AudioClassification[Any]:
        """See TaskKind."""
        reads_spectra = "frames" in PreparedStore(store).facts
        return SpectrumClassification(spec, store) if reads_spectra else SampleClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = self.open(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return audio_classifier.build_empty(task.config)


KIND = AudioClassificationKind()
