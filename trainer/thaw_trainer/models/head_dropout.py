"""`model.head.dropout` in the words of each family of transformers."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError

_NAMES = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "cls_dropout")
_PROBE = 0.4321


def set_head_dropout(config: Any, dropout: float | None, build_empty: Callable[[Any], nn.Module]) -> None:
    """Sets the dropout before the head's last layer in a configuration; None leaves what is there.

    Raises:
        TrainerError: when the family has no such setting.
    """
    if dropout is None:
        return
    # XLM's summary gives the labels itself, XLNet's is followed by a layer that does.
    summary = f"summary_{'first' if getattr(config, 'summary_proj_to_labels', False) else 'last'}_dropout"
    name = next((name for name in (*_NAMES, summary) if _is_read(config, name, build_empty)), None)
    if name is None:
        raise TrainerError(
            MODEL_UNREADABLE, f"{config.model_type} has no dropout before its head", "spec.model.head.dropout"
        )
    setattr(config, name, dropout)


def _is_read(config: Any, dropout: str, build_empty: Callable[[Any], nn.Module]) -> bool:
    """Whether the family makes a dropout of a setting: some configurations have one that their head does not read, and
    some heads read one that their configuration lacks."""
    probe = deepcopy(config)
    setattr(probe, dropout, _PROBE)
    return any(isinstance(module, nn.Dropout) and module.p == _PROBE for module in build_empty(probe).modules())
