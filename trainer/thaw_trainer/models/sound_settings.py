"""How a model of transformers wants its sounds: as samples (wav2vec2 and its kin), or as spectra."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import URI_FIELD


@dataclass(frozen=True)
class SoundSettings:
    """How a model wants its sounds."""

    rate: int = 16000
    """Samples per second."""
    normalize: bool = True
    """Whether each sound gets mean 0 and deviation 1."""
    mask: bool = False
    """Whether the model is told which samples are padding: one with group norm must not be (its paper did not)."""


def sound_settings(folder: Path) -> SoundSettings:
    """From preprocessor_config.json, or what processor_config.json has of it; defaults where the folder has neither."""
    given: dict[str, Any] = {}
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = folder / name
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:
            raise TrainerError(MODEL_UNREADABLE, f"{file} is no readable json: {error}", URI_FIELD) from error
        given |= found.get("feature_extractor", found)
    return SoundSettings(
        given.get("sampling_rate", 16000), given.get("do_normalize", True), given.get("return_attention_mask", False)
    )


def check_reads_samples(config: Any) -> None:
    """Raises TrainerError ModelUnreadable for a model that reads spectra."""
    if not hasattr(config, "conv_kernel"):
        raise TrainerError(
            MODEL_UNREADABLE,
            f"{config.model_type} reads no samples: use wav2vec2, hubert, wavlm or their kin",
            URI_FIELD,
        )


def load_extractor(folder: Path, reads: dict[str, int]) -> Any:
    """transformers' own feature extractor of a model that reads spectra.

    Args:
        reads: what the model reads, by the extractor's names for bins and frames.

    Raises:
        TrainerError: ModelUnreadable, also for one that gives something else.
    """
    from transformers import AutoFeatureExtractor

    try:
        extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # json, key and value errors of many classes
        message = f"no readable feature extractor in {folder}: {error}"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD) from error
    found = {name: getattr(extractor, name, None) for name in reads}
    if found != reads:
        message = f"the model reads spectra of {_listed(reads)}; its feature extractor has {_listed(found)}"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD)
    return extractor


def _listed(sizes: dict[str, Any]) -> str:
    return " and ".join(f"{name} {value}" for name, value in sizes.items())


def feature_extractor(settings: SoundSettings) -> Any:
    """transformers' own, which does to a sound what the batches do."""
    from transformers import Wav2Vec2FeatureExtractor

    return Wav2Vec2FeatureExtractor(
        feature_size=1,
        sampling_rate=settings.rate,
        padding_value=0.0,
        do_normalize=settings.normalize,
        return_attention_mask=settings.mask,
    )
