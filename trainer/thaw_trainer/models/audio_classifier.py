"""A transformers model for audio classification: those of AutoModelForAudioClassification that read samples; AST."""

from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained
from thaw_trainer.models.sound_settings import check_reads_samples, load_extractor


def load_config(folder: Path, spec: ModelSpec, labels: list[str]) -> Any:
    """The model's configuration with a head for `labels`; raises TrainerError ModelUnreadable."""
    if spec.head.dropout is not None:
        raise TrainerError(
            MODEL_UNREADABLE, "audio classifiers have no dropout of their head", "spec.model.head.dropout"
        )
    config = pretrained.load_config(folder, **pretrained.label_settings(labels))
    if not reads_spectra(config):
        check_reads_samples(config)
    return config


def reads_spectra(config: Any) -> bool:
    """Whether a configuration is that of a model that reads spectra: the Audio Spectrogram Transformer."""
    return bool(config.model_type == "audio-spectrogram-transformer")


def spectra_extractor(folder: Path, config: Any) -> Any:
    """The feature extractor of a model that reads spectra; raises TrainerError ModelUnreadable."""
    return load_extractor(folder, {"num_mel_bins": config.num_mel_bins, "max_length": config.max_length})


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it)."""
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def export(model: nn.Module, folder: Path, extractor: Any) -> None:
    """Hugging Face layout, feature extractor included."""
    model.save_pretrained(folder)  # type: ignore[operator]
    extractor.save_pretrained(folder)


def _auto_class() -> Any:
    from transformers import AutoModelForAudioClassification

    return AutoModelForAudioClassification
