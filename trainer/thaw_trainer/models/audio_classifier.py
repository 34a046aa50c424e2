"""A transformers model for audio classification: those of AutoModelForAudioClassification that read samples."""

from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained
from thaw_trainer.models.sound_settings import SoundSettings, check_reads_samples, feature_extractor


def load_config(folder: Path, spec: ModelSpec, labels: list[str]) -> Any:
    """The model's configuration with a head for `labels`; raises TrainerError ModelUnreadable."""
    if spec.head.dropout is not None:
        raise TrainerError(
            MODEL_UNREADABLE, "audio classifiers have no dropout of their head", "spec.model.head.dropout"
        )
    config = pretrained.load_config(folder, **pretrained.label_settings(labels))
    check_reads_samples(config)
    return config


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it)."""
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def export(model: nn.Module, folder: Path, settings: SoundSettings) -> None:
    """Hugging Face layout, feature extractor included."""
    model.save_pretrained(folder)  # type: ignore[operator]
    feature_extractor(settings).save_pretrained(folder)


def _auto_class() -> Any:
    from transformers import AutoModelForAudioClassification

    return AutoModelForAudioClassification
