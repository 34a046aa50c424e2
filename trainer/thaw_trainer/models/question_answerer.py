"""A transformers model for extractive question answering: any family that AutoModelForQuestionAnswering knows."""

from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained


def load_config(folder: Path, spec: ModelSpec, pad_token_id: int | None) -> Any:
    """The model's configuration with a head for an answer's two ends; raises TrainerError ModelUnreadable."""
    if spec.head.dropout is not None:
        raise TrainerError(MODEL_UNREADABLE, "a question answerer's head has no dropout", "spec.model.head.dropout")
    config = pretrained.load_config(folder, num_labels=2)
    if config.pad_token_id is None:
        config.pad_token_id = pad_token_id
    config.use_cache = False
    return config


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it)."""
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def _auto_class() -> Any:
    from transformers import AutoModelForQuestionAnswering

    return AutoModelForQuestionAnswering
