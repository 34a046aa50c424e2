"""Speech recognition by CTC over characters: the text of each sound is spelled (wav2vec2 and its kin)."""

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
from thaw_api.steps import SPEECH_FEATURES, last_step
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.store import PreparedStore, ragged
from thaw_trainer.data.transcribed_sounds import make_store
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained, speech_recognizer
from thaw_trainer.models.sound_settings import SoundSettings
from thaw_trainer.models.speech_recognizer import frames_of
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.row_task import RowTask
from thaw_trainer.tasks.sound_rows import SoundBatch, SoundRows, prepare_sounds
from thaw_trainer.tasks.transcript_metrics import transcript_metrics


@dataclass(frozen=True)
class SpeechBatch:
    """A batch of sounds with their characters: `targets` [rows, longest], of which `target_lengths` [rows] count."""

    sounds: SoundBatch
    targets: NDArray[np.int64]
    target_lengths: NDArray[np.int64]
    texts: list[str]

    @property
    def split(self) -> str:
        """Where the rows are from."""
        return self.sounds.split

    @property
    def plan(self) -> BatchPlan:
        """Which rows they are."""
        return self.sounds.plan


class SpelledSpeech(RowTask[SpeechBatch]):
    """One trial's view of the rows and the model."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.vocabulary: list[str] = self.store.facts["vocabulary"]
        self.settings = SoundSettings(**self.store.facts["sound"])

    @cached_property
    def rows(self) -> dict[str, "SpeechRows"]:
        """The splits' rows."""
        return {split: SpeechRows(self.store, split, self.settings) for split in ("train", "validation", "test")}

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return speech_recognizer.load_config(self.model_folder, self.spec.model, self.vocabulary)

    def build(self) -> nn.Module:
        """See Task."""
        return speech_recognizer.build(self.model_folder, self.config, self.spec.model)

    def row_source(self) -> "SpelledSpeech":
        """See Task."""
        return self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: tenths of a second."""
        return self.rows[split].sounds.lengths

    def collate(self, split: str, plan: BatchPlan) -> SpeechBatch:
        """See RowSource."""
        return self.rows[split].collate(plan)

    def step(self, model: nn.Module, batch: SpeechBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: CTC's loss over characters."""
        losses = self._losses(self._logits(model, batch, device), batch)
        weight = batch.sounds.weight
        return (losses * torch.from_numpy(weight).to(device)).sum(), float((batch.target_lengths * weight).sum())

    def outputs(self, model: nn.Module, batch: SpeechBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, frames, characters]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: SpeechBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, text, predicted, characters (of the text) and loss (summed over them)."""
        counted = np.flatnonzero(batch.sounds.weight > 0)
        logits = outputs["logits"].float().cpu()
        losses = self._losses(logits, batch).numpy()
        frames = frames_of(self.config, batch.sounds.samples)
        best = logits.argmax(dim=-1).numpy()
        texts, predicted = (np.empty(len(counted), dtype=object) for _ in range(2))
        for place, row in enumerate(counted):
            texts[place] = batch.texts[row]
            predicted[place] = greedy_text(best[row, : frames[row]], self.vocabulary)
        return {
            "id": batch.sounds.id[counted],
            "text": texts,
            "predicted": predicted,
            "characters": batch.target_lengths[counted],
            "loss": losses[counted],
        }

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        losses = float(predictions["loss"].sum(dtype=np.float64)) / max(1, int(predictions["characters"].sum()))
        return transcript_metrics(list(predictions["text"]), list(predictions["predicted"])) | {"loss": losses}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: nothing yet."""
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout."""
        speech_recognizer.export(model, folder, self.vocabulary, self.settings)

    def _losses(self, logits: torch.Tensor, batch: SpeechBatch) -> torch.Tensor:
        """CTC's loss of each row, summed over its characters; 0 where a sound is too short for its text."""
        frames = torch.from_numpy(frames_of(self.config, batch.sounds.samples))
        return F.ctc_loss(
            logits.float().log_softmax(dim=-1).transpose(0, 1),  # [frames, rows, characters]
            torch.from_numpy(batch.targets).to(logits.device),
            frames,
            torch.from_numpy(batch.target_lengths),
            blank=self.vocabulary.index(speech_recognizer.BLANK),
            reduction="none",
            zero_infinity=True,
        )

    def _logits(self, model: nn.Module, batch: SpeechBatch, device: torch.device) -> torch.Tensor:
        inputs = batch.sounds.inputs(self.settings, getattr(torch, self.spec.model.dtype), device)
        logits: torch.Tensor = model(**inputs).logits
        return logits.float()


class SpeechRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str, settings: SoundSettings) -> None:
        table = store.table(split)
        self.sounds = SoundRows(table, split, settings)
        self.targets, self.offsets = ragged(table["characters"])
        self.texts = table["text"]

    def collate(self, plan: BatchPlan) -> SpeechBatch:
        """The batch that a plan describes."""
        own = [self.targets[self.offsets[row] : self.offsets[row + 1]] for row in plan.rows]
        targets = np.zeros((len(own), max(1, *(len(each) for each in own))), dtype=np.int64)
        for place, each in enumerate(own):
            targets[place, : len(each)] = each
        return SpeechBatch(
            self.sounds.collate(plan),
            targets,
            np.asarray([len(each) for each in own]),
            [self.texts[int(row)].as_py() for row in plan.rows],
        )


def greedy_text(best: NDArray[np.int64], vocabulary: list[str]) -> str:
    """The text of the likeliest character of each frame: repetitions are one, blanks are none."""
    changes = best[np.flatnonzero(np.diff(best, prepend=-1))]
    characters = [vocabulary[number] for number in changes]
    kept = (each for each in characters if each not in (speech_recognizer.BLANK, speech_recognizer.UNKNOWN))
    return " ".join("".join(kept).replace(speech_recognizer.DELIMITER, " ").split())


class SpelledSpeechKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        _refuse_writing(spec)
        return prepare_sounds(spec, files, None, make_store)

    def open(self, spec: FineTuneJobSpec, store: Path) -> SpelledSpeech:
        """See TaskKind."""
        return SpelledSpeech(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = SpelledSpeech(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        return speech_recognizer.build_empty(task.config)


def _refuse_writing(spec: FineTuneJobSpec) -> None:
    """What is said of models that write token after token is not said of one that spells."""
    given = {
        "spec.evaluation.generation": spec.evaluation.generation,
        "spec.data.batching.maxTargetLength": spec.data.batching.max_target_length,
        "spec.data.features": last_step(spec.data.features, SPEECH_FEATURES, "languages"),
    }
    for field, value in given.items():
        if value is not None:
            message = "the model spells what it hears by CTC, in no language and by no search; Whisper would write it"
            raise TrainerError(MODEL_UNREADABLE, message, field)
