"""A transformers model for sequence classification: any family that AutoModelForSequenceClassification knows."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError

_FIELD = "spec.model.uri"
_HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "cls_dropout", "summary_last_dropout", "pooler_dropout")


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer; raises TrainerError ModelUnreadable."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raise bare Exceptions for corrupt files
        raise TrainerError(MODEL_UNREADABLE, f"no readable tokenizer in {folder}: {error}", _FIELD) from error
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
        name = next((name for name in _HEAD_DROPOUTS if hasattr(config, name)), None)
        if name is None:
            raise TrainerError(
                MODEL_UNREADABLE, f"{config.model_type} has no dropout before its head", "spec.model.head.dropout"
            )
        setattr(config, name, spec.head.dropout)
    return config


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
        module = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
        )
        return module
    except Exception as error:  # safetensors, torch and transformers each raise their own
        raise TrainerError(MODEL_UNREADABLE, f"no readable weights in {folder}: {error}", _FIELD) from error


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device): its names and shapes, in no time and no memory."""
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):
        module: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return module
