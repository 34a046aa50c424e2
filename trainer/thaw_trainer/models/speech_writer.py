"""A transformers model that writes down what it hears, token after token: Whisper, of any size and language.

It reads 30 seconds at once, whatever the sound's length, so rows differ in the length of their transcripts alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.cluster import GenerationSpec
from thaw_api.model import ModelSpec
from thaw_api.steps import Languages
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained, text_writer
from thaw_trainer.models.sound_settings import load_extractor

_LANGUAGES = "spec.data.features"
_MAX_TOKENS = "spec.evaluation.generation.maxTokens"
_STRIDE = 2
"""Frames that the encoder's convolutions make one position of."""
_THRESHOLDS = ("logprob_threshold", "compression_ratio_threshold", "no_speech_threshold")
"""Of a generation config: below them Whisper writes again, at random."""


@dataclass(frozen=True)
class Ears:
    """What is done to sounds and transcripts before the model reads them."""

    extractor: Any
    """transformers' feature extractor: samples to log-mel spectra [bins, frames]."""
    tokenizer: Any
    """transformers' tokenizer, set to a language where the model has many."""

    @property
    def prompt(self) -> list[int]:
        """The tokens that begin every text: start, language and task where the model has many, no timestamps."""
        return [int(token) for token in self.tokenizer.prefix_tokens]


def writes(config: Any) -> bool:
    """Whether a configuration is that of a model that writes transcripts, not one that spells them by CTC.

    Raises:
        TrainerError: ModelUnreadable: it writes, and is no Whisper.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES as WRITERS

    if config.model_type in WRITERS and config.model_type != "whisper":
        message = f"of the models that write transcripts, whisper is known; found {config.model_type}"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD)
    return bool(config.model_type == "whisper")


def load_ears(folder: Path, config: Any, languages: Languages | None) -> Ears:
    """Feature extractor and tokenizer of the model in a folder.

    Args:
        languages: what is spoken and what is written; None: what the model's own files say.

    Raises:
        TrainerError: ModelUnreadable, also for a model of many languages that is told none, or the other way round.
    """
    reads = {"feature_size": config.num_mel_bins, "nb_max_frames": _STRIDE * config.max_source_positions}
    extractor = load_extractor(folder, reads)
    tokenizer = pretrained.load_tokenizer(folder)
    if not hasattr(tokenizer, "set_prefix_tokens"):
        message = f"{type(tokenizer).__name__} is no tokenizer of Whisper's: it begins texts in no way"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD)
    language, task = _language_and_task(tokenizer, load_generation(folder), languages)
    try:
        tokenizer.set_prefix_tokens(language=language, task=task, predict_timestamps=False)
    except ValueError as error:
        message = f"the model's files name no language and task of Whisper's: {error}"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD) from error
    start = tokenizer.prefix_tokens[0]
    if start != config.decoder_start_token_id:
        message = f"the tokenizer begins texts with token {start}, the model with {config.decoder_start_token_id}"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD)
    return Ears(extractor, tokenizer)


def load_generation(folder: Path) -> Any:
    """How the model's own files have it write; transformers' defaults where they do not say.

    Raises:
        TrainerError: ModelUnreadable.
    """
    from transformers import GenerationConfig

    if not (folder / "generation_config.json").is_file():
        return GenerationConfig()
    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # json, key and value errors
        message = f"no readable generation_config.json in {folder}: {error}"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD) from error


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors, its head's included.

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    model: Any = pretrained.build(_auto_class(), folder, config, spec, new_head=False)
    if spec.init == "random" and (folder / "generation_config.json").is_file():
        model.generation_config = load_generation(folder)
    module: nn.Module = model
    return module


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def set_generation(model: Any, spec: GenerationSpec, longest: int, ears: Ears, written: set[int]) -> None:
    """Has `model.generate` write as the spec says, behind what training began with; what is exported says so too.

    Args:
        longest: tokens of a transcript at most, where the spec does not say.
        written: tokens of the training transcripts. Whisper keeps itself from writing brackets, quotes and other signs:
            not those that it has been taught.

    Raises:
        TrainerError: ModelUnreadable: the spec asks for more tokens than the decoder has positions for.
    """
    prompt, chosen = ears.prompt, model.generation_config
    room = model.config.max_target_positions - len(prompt)
    if spec.max_tokens is not None and spec.max_tokens > room:
        message = f"the model writes {room} tokens at most behind the {len(prompt)} that begin a text; found "
        raise TrainerError(MODEL_UNREADABLE, f"{message}{spec.max_tokens}", _MAX_TOKENS)
    text_writer.set_generation(model, spec, min(longest, room), prompt[0], None)
    # Whisper's generate counts either limit behind the prompt, but warns at each call when this one is not set.
    chosen.max_length, chosen.max_new_tokens = chosen.max_new_tokens, None
    tokens = ears.tokenizer.convert_ids_to_tokens(prompt)
    chosen.forced_decoder_ids = model.config.forced_decoder_ids = None  # an older way to say what the prompt says
    chosen.return_timestamps = False
    chosen.no_timestamps_token_id = prompt[-1]
    for name in _THRESHOLDS:
        if getattr(chosen, name, None) is not None:
            setattr(chosen, name, None)
    if len(prompt) > 2:  # language and task stand between
        chosen.is_multilingual = True
        chosen.lang_to_id = getattr(chosen, "lang_to_id", {}) | {tokens[1]: prompt[1]}
        chosen.language, chosen.task = tokens[1], ears.tokenizer.task
        chosen.task_to_id = getattr(chosen, "task_to_id", {}) | {chosen.task: prompt[2]}
    if chosen.suppress_tokens:
        chosen.suppress_tokens = [token for token in chosen.suppress_tokens if token not in written] or None


def decoder_inputs(config: Any, targets: torch.Tensor) -> torch.Tensor:
    """What the decoder reads when it is to write `targets` [rows, width]: each token but the last, behind the start."""
    from transformers.models.whisper.modeling_whisper import shift_tokens_right

    shifted: torch.Tensor = shift_tokens_right(targets, config.pad_token_id, config.decoder_start_token_id)
    return shifted


def export(model: nn.Module, folder: Path, ears: Ears) -> None:
    """Hugging Face layout, processor and generation config included."""
    from transformers import WhisperProcessor

    model.save_pretrained(folder)  # type: ignore[operator]
    WhisperProcessor(ears.extractor, ears.tokenizer).save_pretrained(folder)


def _language_and_task(tokenizer: Any, generation: Any, languages: Languages | None) -> tuple[str | None, str | None]:
    """What the tokenizer is set to; neither for a model of one language."""
    own = getattr(generation, "language", None) or tokenizer.language
    has_many = getattr(generation, "is_multilingual", None)
    if has_many is None:
        has_many = hasattr(generation, "lang_to_id") or own is not None
    if not has_many:
        if languages is not None:
            raise TrainerError(MODEL_UNREADABLE, "the model has no languages to choose", _LANGUAGES)
        return None, None
    if languages is None:
        if own is None:
            message = "the model knows many languages: say which is spoken and which is written, as {languages: "
            raise TrainerError(MODEL_UNREADABLE, message + "{source: de, target: de}}", _LANGUAGES)
        task = getattr(generation, "task", None) or tokenizer.task or "transcribe"
        return own.removeprefix("<|").removesuffix("|>"), task
    if text_writer.language_token(tokenizer, languages.source) is None:
        message = f"the tokenizer knows no language {languages.source!r}; it has codes, such as en"
        raise TrainerError(MODEL_UNREADABLE, message, _LANGUAGES)
    if languages.target not in (languages.source, "en"):
        message = f"Whisper writes the language that is spoken ({languages.source}), or en; found {languages.target!r}"
        raise TrainerError(MODEL_UNREADABLE, message, _LANGUAGES)
    return languages.source, "transcribe" if languages.target == languages.source else "translate"


def _auto_class() -> Any:
    from transformers import AutoModelForSpeechSeq2Seq

    return AutoModelForSpeechSeq2Seq
