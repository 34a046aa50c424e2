"""Speech recognition token after token: the text of each sound is written (Whisper)."""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.cluster import GenerationSpec
from thaw_api.data import DataSpec
from thaw_api.job import FineTuneJobSpec
from thaw_api.steps import SPEECH_FEATURES, Languages, last_step
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.spectra import Spectra
from thaw_trainer.data.store import Made, PreparedStore
from thaw_trainer.data.written_sounds import make_store
from thaw_trainer.models import pretrained, speech_writer, text_writer
from thaw_trainer.models.speech_writer import Ears
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.sound_rows import prepare_sounds
from thaw_trainer.tasks.transcript_metrics import transcript_metrics
from thaw_trainer.tasks.writing import TargetBatch, TargetRows, WritingTask
from thaw_trainer.uris import resolve_model


@dataclass(frozen=True)
class HeardBatch(TargetBatch):
    """Sounds with their transcripts: `spectra` [rows, bins, frames]."""

    spectra: NDArray[np.float32]


class HeardRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        table = store.table(split)
        self.spectra = Spectra(table["spectrum"], store.facts["bins"], store.facts["frames"])
        self.targets = TargetRows(table, split, "text", store.facts["padToken"])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens of each transcript."""
        return np.diff(self.targets.offsets)

    def collate(self, plan: BatchPlan, config: Any) -> HeardBatch:
        """The batch that a plan describes; `config`: the model's."""
        targets = self.targets.collate(plan, plan.width, partial(speech_writer.decoder_inputs, config))
        return HeardBatch(**vars(targets), spectra=self.spectra.batch(plan.rows))


class WrittenSpeech(WritingTask[HeardBatch]):
    """One trial's view of the rows and the model."""

    text_columns = ("text", "predicted")
    text_metrics = staticmethod(transcript_metrics)

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        # Half a minute a row is much to hold, and a batch is filled up: no more rows than are held in training.
        held = spec.training.batch_size // spec.training.gradient_accumulation
        self.evaluation_rows = max(1, min(self.evaluation_rows, held))

    @cached_property
    def rows(self) -> dict[str, HeardRows]:
        """The splits' rows."""
        return {split: HeardRows(self.store, split) for split in ("train", "validation", "test")}

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return text_writer.load_config(self.model_folder, self.spec.model)

    @cached_property
    def ears(self) -> Ears:
        """What the model hears and spells with, set to the job's languages."""
        return speech_writer.load_ears(self.model_folder, self.config, _languages(self.spec.data))

    def build(self) -> nn.Module:
        """See Task."""
        model = speech_writer.build(self.model_folder, self.config, self.spec.model)
        generation = self.spec.evaluation.generation or GenerationSpec(beams=1)
        written = set(np.unique(self.rows["train"].targets.targets).tolist())
        # The store's lengths are those of labels, which have all of the prompt but its first token.
        longest = self.store.facts["longestTarget"] - len(self.ears.prompt) + 1
        speech_writer.set_generation(model, generation, longest, self.ears, written)
        self.counted_only.attach(model)
        return model

    def row_source(self) -> "WrittenSpeech":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tokens of the transcripts."""
        return self.rows[split].lengths

    def collate(self, split: str, plan: BatchPlan) -> HeardBatch:
        """See RowSource."""
        return self.rows[split].collate(plan, self.config)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout; `generate` then writes as it was measured."""
        speech_writer.export(model, folder, self.ears)

    def decoded(self, tokens: torch.Tensor) -> list[str]:
        """See WritingTask: with single spaces, as the transcripts have them."""
        texts: list[str] = self.ears.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def generate(self, model: Any, batch: HeardBatch, device: torch.device) -> torch.Tensor:
        """See WritingTask."""
        spectra = self.inputs(batch, device)["input_features"][: batch.plan.filled]
        # Once: else a model that writes timestamps unasked is sent back to where they say, maybe for ever.
        found: torch.Tensor = model.generate(spectra, force_unique_generate_call=True)
        return found

    def inputs(self, batch: HeardBatch, device: torch.device) -> dict[str, torch.Tensor]:
        """See WritingTask. A copy: SpecAugment writes into it."""
        dtype = getattr(torch, self.spec.model.dtype)
        return {"input_features": torch.tensor(batch.spectra, dtype=dtype, device=device)}


class WrittenSpeechKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        folder = resolve_model(spec.model.uri, pretrained.URI_FIELD, files.roots)
        config = text_writer.load_config(folder, spec.model)

        def make(data: DataSpec, paths: dict[str, Path], rate: int) -> Made:
            ears = speech_writer.load_ears(folder, config, _languages(data))
            return make_store(data, paths, ears, config.max_target_positions)

        return prepare_sounds(spec, files, None, make)

    def open(self, spec: FineTuneJobSpec, store: Path) -> WrittenSpeech:
        """See TaskKind."""
        return WrittenSpeech(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = WrittenSpeech(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return speech_writer.build_empty(task.config)


def _languages(data: DataSpec) -> Languages | None:
    """What is spoken and what is written, where the manifest says."""
    found: Languages | None = last_step(data.features, SPEECH_FEATURES, "languages")
    return found
