"""A transformers model for sequence classification: any family that AutoModelForSequenceClassification knows."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.layout import find_layout

_FIELD = "spec.model.uri"
_HEAD_DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "cls_dropout")
_PROBE = 0.4321


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer; raises TrainerError ModelUnreadable."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raise bare Exceptions for corrupt files
        raise TrainerError(MODEL_UNREADABLE, f"no readable tokenizer in {folder}: {error}", _FIELD) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # transformers makes an empty one for a folder without a vocabulary.
        raise TrainerError(MODEL_UNREADABLE, f"no vocabulary of a tokenizer in {folder}", _FIELD)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(folder: Path, spec: ModelSpec, labels: list[str], pad_token_id: int | None) -> Any:
    """The model's configuration with a head for `labels`.

    Raises:
        TrainerError: ModelUnreadable; or when head.dropout is set and the family has no such setting.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder,
            local_files_only=True,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
    except Exception as error:  # json, key and value errors of many config classes
        raise TrainerError(MODEL_UNREADABLE, f"no readable config.json in {folder}: {error}", _FIELD) from error
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    config.use_cache = False
    if spec.head.dropout is not None:
        # XLM's summary gives the labels itself, XLNet's is followed by a layer that does.
        summary = f"summary_{'first' if getattr(config, 'summary_proj_to_labels', False) else 'last'}_dropout"
        name = next((name for name in (*_HEAD_DROPOUTS, summary) if _is_read(config, name)), None)
        if name is None:
            raise TrainerError(
                MODEL_UNREADABLE, f"{config.model_type} has no dropout before its head", "spec.model.head.dropout"
            )
        setattr(config, name, spec.head.dropout)
    return config


def _is_read(config: Any, dropout: str) -> bool:
    """Whether the family makes a dropout of a setting: some configurations have one that their head does not read, and
    some heads read one that their configuration lacks."""
    probe = deepcopy(config)
    setattr(probe, dropout, _PROBE)
    return any(isinstance(module, nn.Dropout) and module.p == _PROBE for module in build_empty(probe).modules())


def longest_input(config: Any) -> int | None:
    """Tokens that the model has positions for; None: no limit."""
    positions = getattr(config, "max_position_embeddings", None) or 0
    if positions <= 0:
        return None
    for name, module in build_empty(config).named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            # RoBERTa and its kin count positions from behind the padding index.
            return int(positions - padding - 1)
    return int(positions)


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it).

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    from transformers import AutoModelForSequenceClassification

    dtype = getattr(torch, spec.dtype)
    try:
        if spec.init == "random":
            module: nn.Module = AutoModelForSequenceClassification.from_config(config, dtype=dtype)
            return module
        module, found = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, torch and transformers each raise their own
        raise TrainerError(MODEL_UNREADABLE, f"no readable weights in {folder}: {error}", _FIELD) from error
    _check_found(module, found, folder, spec.blocks)
    return module


def _check_found(module: nn.Module, found: dict[str, Any], folder: Path, blocks: list[str] | None) -> None:
    """Only the head may be new: transformers makes random tensors of whatever else is missing, with a warning."""
    new = {*found["missing_keys"], *(mismatch[0] for mismatch in found["mismatched_keys"])}
    layout = find_layout(module, blocks)
    lacking = sorted(new & set(layout.names(-1, layout.blocks - 1)))
    if lacking:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"the weights in {folder} lack {len(lacking)} tensors below the head, or have them in other shapes: "
            f"{', '.join(lacking[:5])}",
            _FIELD,
        )


def check_weights(folder: Path) -> None:
    """Reads the headers of a model's weight files, which say whether each is whole.

    Raises:
        TrainerError: ModelUnreadable.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainerError(MODEL_UNREADABLE, f"no *.safetensors in {folder}; pickled weights are not loaded", _FIELD)
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise TrainerError(MODEL_UNREADABLE, f"{file} is no whole safetensors file: {error}", _FIELD) from error


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device): its names and shapes, in no time and no memory."""
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):
        module: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return module
