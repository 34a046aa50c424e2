"""A transformers model for sequence classification: any family that AutoModelForSequenceClassification knows."""

from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.models import pretrained
from thaw_trainer.models.head_dropout import set_head_dropout

_WITHOUT_A_TABLE = ("xlnet",)
"""Families that tell segments apart by whether two tokens are of the same one, and so have no table of them."""


def load_config(
    folder: Path, spec: ModelSpec, labels: list[str], pad_token_id: int | None, problem_type: str | None = None
) -> Any:
    """The model's configuration with a head for `labels`.

    Args:
        problem_type: what transformers calls the kind of labels.

    Raises:
        TrainerError: ModelUnreadable; or when head.dropout is set and the family has no such setting.
    """
    config = pretrained.load_config(folder, **pretrained.label_settings(labels), problem_type=problem_type)
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    config.use_cache = False
    set_head_dropout(config, spec.head.dropout, build_empty)
    return config


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it).

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def reads_segments(config: Any) -> bool:
    """Whether a module of this configuration tells two texts of a row apart by `token_type_ids`. GPT-2 and its kin take
    them too, and look them up among the words."""
    return config.model_type in _WITHOUT_A_TABLE or (getattr(config, "type_vocab_size", None) or 0) > 1


def _auto_class() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification
