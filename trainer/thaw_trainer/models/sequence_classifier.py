"""A transformers model for sequence classification: any family that AutoModelForSequenceClassification knows."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained

_HEAD_DROPOUTS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "cls_dropout")
_PROBE = 0.4321


def load_config(folder: Path, spec: ModelSpec, labels: list[str], pad_token_id: int | None) -> Any:
    """The model's configuration with a head for `labels`.

    Raises:
        TrainerError: ModelUnreadable; or when head.dropout is set and the family has no such setting.
    """
    config = pretrained.load_config(
        folder,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
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


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it).

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    return pretrained.build(_auto_class(), folder, config, spec)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def _auto_class() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification
