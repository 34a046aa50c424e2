"""What is done to the blocks that the backward enters: activation checkpointing, compilation.

Blocks below the lowest trained tensor are left as they are: they keep no activations that could be spared, and what the
prefix cache replays in their place is what they compute uncompiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from thaw_api.training import TrainingSpec
from thaw_trainer.freezing.layout import Layout

_MOST_GRAPHS = 256


def treat_blocks(model: nn.Module, layout: Layout, train: frozenset[str], training: TrainingSpec) -> list[str]:
    """Undoes what an earlier stage did, and does what the manifest asks for.

    Args:
        train: names of the tensors that the phase trains.

    Returns:
        Names of the blocks' modules that were treated.
    """
    _leave(model, layout)
    if training.compile:
        _prepare_compilation()
    lowest = max(min(layout.place[name] for name in train), 0)
    names = [name for block in layout.block_modules[lowest:] for name in block]
    if not (training.activation_checkpointing or training.compile):
        return []
    for name in names:
        block = model.get_submodule(name)
        if training.activation_checkpointing and not _has_statistics(block):
            block.__dict__["forward"] = partial(_recomputed, block.forward)
        if training.compile:
            # By length class: a graph for each is faster than one for all.
            block.compile(dynamic=False)
    return names


def _leave(model: nn.Module, layout: Layout) -> None:
    for block in (model.get_submodule(name) for names in layout.block_modules for name in names):
        if isinstance(block.__dict__.get("forward"), partial) and block.__dict__["forward"].func is _recomputed:
            del block.__dict__["forward"]
        block._compiled_call_impl = None


def _prepare_compilation() -> None:
    """Graphs of earlier phases and trials are dropped: dynamo counts them against this one's."""
    import torch._dynamo  # here, since each takes every worker a part of a second
    import torch._inductor.config

    torch._dynamo.reset()
    # Each length class has a graph for training and one for measuring; past the limit dynamo silently stops compiling.
    torch._dynamo.config.recompile_limit = _MOST_GRAPHS
    torch._dynamo.config.accumulated_recompile_limit = 8 * _MOST_GRAPHS
    torch._inductor.config.fallback_random = True  # dropout draws what it draws uncompiled


def _has_statistics(block: nn.Module) -> bool:
    """Whether computing it again would move running statistics a second time."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in block.modules())


def _recomputed(compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Keeps the inputs alone; the backward computes again, with the same random numbers (arXiv 1604.06174)."""
    if not torch.is_grad_enabled():
        return compute(*args, **kwargs)
    return checkpoint(compute, *args, use_reentrant=False, **kwargs)
