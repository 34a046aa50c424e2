"""A transformers model for speech recognition by CTC (wav2vec2 and its kin), with a head for the job's characters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.models import pretrained
from thaw_trainer.models.sound_settings import SoundSettings, check_reads_samples, feature_extractor

BLANK, UNKNOWN, DELIMITER = "[PAD]", "[UNK]", "|"
"""CTC's blank is the padding token of wav2vec2's tokenizers; a delimiter stands for the space."""


def load_config(folder: Path, spec: ModelSpec, vocabulary: list[str]) -> Any:
    """The model's configuration with a head for a vocabulary, whose first token is the blank.

    Raises:
        TrainerError: ModelUnreadable, also for a model that does not read samples.
    """
    config = pretrained.load_config(
        folder, vocab_size=len(vocabulary), pad_token_id=vocabulary.index(BLANK), ctc_zero_infinity=True
    )
    check_reads_samples(config)
    if spec.head.dropout is not None:
        config.final_dropout = spec.head.dropout
    return config


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it)."""
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def frames_of(config: Any, samples: Any) -> Any:
    """Frames that the model makes of so many samples: what its convolutions leave."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return np.maximum(samples, 0)


def fit_vocabulary(texts: list[str]) -> list[str]:
    """Blank, unknown, delimiter, and the characters of the texts, sorted."""
    characters = sorted({character for text in texts for character in text if not character.isspace()} - {DELIMITER})
    return [BLANK, UNKNOWN, DELIMITER, *characters]


def export(model: nn.Module, folder: Path, vocabulary: list[str], settings: SoundSettings) -> None:
    """Hugging Face layout, processor included."""
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2Processor

    model.save_pretrained(folder)  # type: ignore[operator]
    file = folder / "vocab.json"
    file.write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}), encoding="utf-8")
    tokenizer = Wav2Vec2CTCTokenizer(file, unk_token=UNKNOWN, pad_token=BLANK, word_delimiter_token=DELIMITER)
    Wav2Vec2Processor(feature_extractor=feature_extractor(settings), tokenizer=tokenizer).save_pretrained(folder)


def _auto_class() -> Any:
    from transformers import AutoModelForCTC

    return AutoModelForCTC
