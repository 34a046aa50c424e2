"""A transformers model for token classification: any family that AutoModelForTokenClassification knows."""

from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.models import pretrained
from thaw_trainer.models.head_dropout import set_head_dropout


def load_config(folder: Path, spec: ModelSpec, labels: list[str], pad_token_id: int | None) -> Any:
    """The model's configuration with a head for `labels`; raises TrainerError ModelUnreadable."""
    config = pretrained.load_config(folder, **pretrained.label_settings(labels))
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    config.use_cache = False
    set_head_dropout(config, spec.head.dropout, build_empty)
    return config


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer for words that stand apart: a byte-level one has to see the space before each, as in a text."""
    return pretrained.load_tokenizer(folder, add_prefix_space=True)


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it)."""
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def _auto_class() -> Any:
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification
