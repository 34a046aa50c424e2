"""A transformers model that reads one text and writes another: any family that AutoModelForSeq2SeqLM knows."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.cluster import GenerationSpec
from thaw_api.model import ModelSpec
from thaw_api.steps import Languages
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained

_LANGUAGES = "spec.data.features"
_NO_LIMITS = {
    "min_length": 0,
    "min_new_tokens": None,
    "repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "diversity_penalty": 0.0,
    "num_beam_groups": 1,
}


def load_tokenizer(folder: Path, languages: Languages | None) -> Any:
    """The model's tokenizer, set to a pair of languages.

    Raises:
        TrainerError: ModelUnreadable, also for a tokenizer of many languages that is told none, or the other way round.
    """
    tokenizer = pretrained.load_tokenizer(folder)
    has_languages = hasattr(tokenizer, "src_lang")
    if languages is None and has_languages:
        message = "the model knows many languages: say which, as {languages: {source: …, target: …}}"
        raise TrainerError(MODEL_UNREADABLE, message, _LANGUAGES)
    if languages is not None:
        if not has_languages:
            raise TrainerError(MODEL_UNREADABLE, "the model's tokenizer has no languages to choose", _LANGUAGES)
        for code in (languages.source, languages.target):
            if language_token(tokenizer, code) is None:
                raise TrainerError(MODEL_UNREADABLE, f"the tokenizer knows no language {code!r}", _LANGUAGES)
        tokenizer.src_lang, tokenizer.tgt_lang = languages.source, languages.target
    return tokenizer


def language_token(tokenizer: Any, code: str) -> int | None:
    """The token that stands for a language, not a piece of a word that is spelled like it; None: there is none."""
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    named = (name for name in (f"__{code}__", f"<|{code}|>", code) if name in special)  # M2M100 writes __fr__
    return next((int(tokenizer.convert_tokens_to_ids(name)) for name in named), None)


def load_config(folder: Path, spec: ModelSpec) -> Any:
    """The model's configuration.

    Raises:
        TrainerError: ModelUnreadable; or when head.dropout is set, which no such model has.
    """
    if spec.head.dropout is not None:
        raise TrainerError(
            MODEL_UNREADABLE, "a model that writes texts has no dropout before its head", "spec.model.head.dropout"
        )
    return pretrained.load_config(folder)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device).

    Raises:
        TrainerError: ModelUnreadable: the family does not say how targets become its decoder's inputs.
    """
    try:
        module = pretrained.build_empty(_auto_class(), config)
    except ValueError as error:
        message = f"{config.model_type} does not read one text and write another: {str(error).splitlines()[0]}"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD) from error
    if not hasattr(module, "prepare_decoder_input_ids_from_labels"):
        message = f"{config.model_type} does not say how targets become its decoder's inputs"
        raise TrainerError(MODEL_UNREADABLE, message, pretrained.URI_FIELD)
    return module


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors, its head's included.

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    return pretrained.build(_auto_class(), folder, config, spec, new_head=False)


def set_generation(model: Any, spec: GenerationSpec, longest: int, begins: int, language: int | None) -> None:
    """Has `model.generate` write as the spec says and nothing else; what is exported says so too.

    Args:
        longest: tokens of a text at most, where the spec does not say.
        begins: the token that the decoder begins with in training.
        language: the token that then stands for the language, where targets begin with it.
    """
    chosen = model.generation_config
    # What fits the texts that a model was pretrained for, such as summaries of 56 tokens at least, fits no others.
    for name, nothing in _NO_LIMITS.items():
        if getattr(chosen, name, None) is not None:
            setattr(chosen, name, nothing)
    chosen.num_beams, chosen.do_sample = spec.beams, False
    chosen.early_stopping = spec.beams > 1
    chosen.length_penalty, chosen.no_repeat_ngram_size = spec.length_penalty, spec.no_repeat_ngram
    # Of the two limits, transformers warns when both are set.
    chosen.max_new_tokens, chosen.max_length = spec.max_tokens or longest, None
    chosen.temperature = chosen.top_k = chosen.top_p = None  # of sampling; refused beside do_sample=False
    chosen.decoder_start_token_id = begins
    if language is not None:
        chosen.forced_bos_token_id = language


def decoder_inputs(empty: Any, targets: torch.Tensor) -> torch.Tensor:
    """What the decoder reads when it is to write `targets` [rows, width]: each token but the last, behind the one that
    begins every text.

    Args:
        empty: the module on the meta device.
    """
    shifted: torch.Tensor = empty.prepare_decoder_input_ids_from_labels(labels=targets)
    return shifted


def _auto_class() -> Any:
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM
