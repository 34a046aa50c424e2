"""A transformers model that continues texts: any family that AutoModelForCausalLM knows and that is causal indeed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained

_STRATEGY = "spec.data.batching.strategy"
_NOISE = {torch.float32: 1e-4}
"""Share of the largest logit by which equal computations may differ."""
_NOISE_OF_SHORT_TYPES = 0.05


def files(folder: Path) -> list[Path]:
    """The files that decide what model and tokenizer do, the chat's template included."""
    return sorted([*pretrained.model_files(folder), *folder.glob("*.jinja")])


def load_config(folder: Path, spec: ModelSpec) -> Any:
    """The model's configuration.

    Raises:
        TrainerError: ModelUnreadable; or when head.dropout is set, which no such model has.
    """
    if spec.head.dropout is not None:
        raise TrainerError(
            MODEL_UNREADABLE, "a causal language model has no dropout before its head", "spec.model.head.dropout"
        )
    return pretrained.load_config(folder)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config)


def vocabulary(model: Any) -> int:
    """Tokens that a model has embeddings for."""
    return int(model.get_input_embeddings().weight.shape[0])


def build(folder: Path, config: Any, spec: ModelSpec, packed: bool) -> nn.Module:
    """A new module with the pretrained tensors, its head's included.

    Args:
        packed: whether it is to read rows of several texts.

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes, when a token's prediction
            depends on later ones, or with `packed` on other texts of its row.
    """
    model = pretrained.build(_auto_class(), folder, config, spec, new_head=False)
    difference = dependence_on_what_follows(model)
    if difference is not None:
        raise TrainerError(
            MODEL_UNREADABLE, f"{config.model_type} is no causal language model: {difference}", pretrained.URI_FIELD
        )
    difference = dependence_on_other_texts(model) if packed else None
    if difference is not None:
        raise TrainerError(
            MODEL_UNREADABLE, f"{config.model_type} cannot read packed rows: {difference}; use bucket", _STRATEGY
        )
    return model


def dependence_on_what_follows(model: Any) -> str | None:
    """What shows that a token's prediction depends on later tokens or on padding; None when it does not. Rows are
    padded on their right and without a mask, where nothing that is causal looks."""
    text, more = _texts(model)
    return _difference(
        model, lambda: _logits(model, torch.cat([text, more]))[: len(text)], lambda: _logits(model, text)
    )


def dependence_on_other_texts(model: Any) -> str | None:
    """What shows that texts of one row see each other, although their positions begin anew; None when they do not."""
    texts = _texts(model)
    positions = torch.cat([torch.arange(len(text)) for text in texts])
    return _difference(
        model,
        lambda: _logits(model, torch.cat(texts), position_ids=positions[None]),
        lambda: torch.cat([_logits(model, text) for text in texts]),
    )


def _texts(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Two short texts of whatever tokens."""
    ids = (torch.arange(9) * 7 + 3) % vocabulary(model)
    return ids[:5], ids[5:]


def _logits(model: Any, ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=ids[None], use_cache=False, **inputs).logits[0]
    return logits.float()


def _difference(model: nn.Module, one: Callable[[], torch.Tensor], other: Callable[[], torch.Tensor]) -> str | None:
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()
            found, wanted = one(), other()
    except Exception as error:  # whatever a model's code makes of it
        return f"{type(error).__name__}: {error}"
    finally:
        model.train(was_training)
    noise = _NOISE.get(next(model.parameters()).dtype, _NOISE_OF_SHORT_TYPES)
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    return None if difference <= noise else f"the same token's logits differ by {difference:.1e} of the largest"


def _auto_class() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM
