"""Regularization beyond the loss and the optimizer: dropout and skipped blocks in the model, and what is done to the
trained tensors after each step. The outputs' divergence (R-Drop) is part of the loss: `tasks/row_losses.py`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from thaw_api.training import RegularizationSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.loop.sharding import local, placed_like

_FIELD = "spec.training.regularization"

AVERAGE, AVERAGED_STEPS = "average", "averaged_steps"
"""Names in an optimizer's state, where checkpoints keep them: a tensor's moving average, and the steps in it."""

_DROPOUT_RATES = frozenset(
    ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "dropout_prob", "attn_dropout")
)
"""What modules of transformers and torch call a rate that they hand to a function."""


def regularize(model: nn.Module, layout: Layout, spec: RegularizationSpec) -> None:
    """Puts a new model's dropout and skipping of blocks into effect, in place; frozen modules have neither, since they
    are in eval mode.

    Raises:
        TrainerError: ModelUnreadable: the model has no dropout whose rate could be set.
    """
    if spec.dropout is not None and not _set_dropout(_below_head(model, layout), spec.dropout):
        message = f"{type(model).__name__} has no dropout below its head"
        raise TrainerError(MODEL_UNREADABLE, message, f"{_FIELD}.dropout")
    if spec.stochastic_depth:
        _skip_blocks(model, layout, spec.stochastic_depth)


def _below_head(model: nn.Module, layout: Layout) -> list[nn.Module]:
    """Blocks, and the modules whose every tensor is the stem's."""
    blocks = [name for names in layout.block_modules for name in names]
    stem = [name for name, module in model.named_modules() if name and _is_stem(name, module, layout)]
    return [model.get_submodule(name) for name in (*stem, *blocks)]


def _is_stem(name: str, module: nn.Module, layout: Layout) -> bool:
    places = {layout.place_of_name.get(f"{name}.{tensor}") for tensor, _ in module.named_parameters()}
    return places == {-1}


def _set_dropout(parts: Iterable[nn.Module], rate: float) -> int:
    """Sets every rate inside; returns how many there are."""
    found = 0
    named = {id(each): (name, each) for part in parts for name, each in part.named_modules()}
    for name, module in named.values():
        if "lora_" in name:
            continue  # an adapter's dropout is `model.adapter.dropout`
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = rate
            found += 1
            continue
        for attribute in _DROPOUT_RATES & module.__dict__.keys():
            if isinstance(getattr(module, attribute), (float, int)):
                setattr(module, attribute, rate)
                found += 1
    return found


def _skip_blocks(model: nn.Module, layout: Layout, rate: float) -> None:
    for number, names in enumerate(layout.block_modules, start=1):
        for name in names:
            skip = partial(_skipped, rate=rate * number / layout.blocks)
            model.get_submodule(name).register_forward_hook(skip, with_kwargs=True)


def _skipped(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, rate: float) -> Any:
    """What a block gives, with its input instead in a share of the rows; as it is where the two are of other shapes."""
    if not block.training:
        return output
    given = args[0] if args else kwargs.get("hidden_states")
    found = output[0] if isinstance(output, tuple) else output
    if not isinstance(found, torch.Tensor) or not isinstance(given, torch.Tensor) or given.shape != found.shape:
        return output
    keeps = torch.rand(found.shape[0], *[1] * (found.ndim - 1), device=found.device) >= rate
    kept = torch.where(keeps, found, given.to(found.dtype))
    return (kept, *output[1:]) if isinstance(output, tuple) else kept


def anchors(model: nn.Module, layout: Layout, phases: Sequence[Phase]) -> dict[str, torch.Tensor]:
    """A copy, in the CPU's memory, of the pretrained tensors below the head that some phase trains."""
    trained = frozenset().union(*(phase.train for phase in phases))
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in model.named_parameters()
        if name in trained and layout.place[name] < layout.blocks
    }


def anchored(
    optimizer: torch.optim.Optimizer, model: nn.Module, pretrained: Mapping[str, torch.Tensor]
) -> dict[nn.Parameter, torch.Tensor]:
    """The pretrained values of the tensors that an optimizer trains, placed as they are."""
    trained = {tensor for group in optimizer.param_groups for tensor in group["params"]}
    named = ((tensor, pretrained.get(name)) for name, tensor in model.named_parameters() if tensor in trained)
    return {tensor: local(placed_like(tensor, value)) for tensor, value in named if value is not None}


@torch.no_grad()
def pull_back(
    optimizer: torch.optim.Optimizer, pretrained: Mapping[nn.Parameter, torch.Tensor], strength: float
) -> None:
    """Moves each tensor towards its pretrained value by its rate times `strength` (L2-SP, arXiv 1802.01483; decoupled
    from the gradient as AdamW's decay is, arXiv 1711.05101)."""
    for group in optimizer.param_groups:
        tensors = [tensor for tensor in group["params"] if tensor in pretrained and tensor.grad is not None]
        if tensors:
            own, values = [local(tensor) for tensor in tensors], [pretrained[tensor] for tensor in tensors]
            torch._foreach_lerp_(own, values, min(group["lr"] * strength, 1.0))


@torch.no_grad()
def average(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Takes a step's tensors into their moving averages, which begin with what the first step leaves. Early on the
    newest count more, or the beginning would: the decay is at most (1 + n) / (10 + n) after n steps (TensorFlow's)."""
    by_steps: dict[int, list[nn.Parameter]] = {}
    for tensor in (each for group in optimizer.param_groups for each in group["params"]):
        if tensor.grad is None:
            continue  # not moved; and an optimizer that finds any state of a tensor's takes its moments to be there
        state = optimizer.state[tensor]
        if AVERAGE not in state:
            state[AVERAGE], state[AVERAGED_STEPS] = tensor.detach().clone(), torch.zeros(())
        else:
            by_steps.setdefault(int(state[AVERAGED_STEPS]), []).append(tensor)
    for steps, tensors in by_steps.items():
        averages = [local(optimizer.state[tensor][AVERAGE]) for tensor in tensors]
        weight = 1.0 - min(decay, (1.0 + steps) / (10.0 + steps))
        torch._foreach_lerp_(averages, [local(tensor.detach()) for tensor in tensors], weight)
        for tensor in tensors:
            optimizer.state[tensor][AVERAGED_STEPS] += 1


def forget_averages(optimizer: torch.optim.Optimizer) -> None:
    """Drops the averages: they are of weights that are no longer gone on from."""
    for state in optimizer.state.values():
        state.pop(AVERAGE, None)
        state.pop(AVERAGED_STEPS, None)


@torch.no_grad()
def swap_averages(optimizer: torch.optim.Optimizer) -> None:
    """Exchanges the trained tensors with their averages; a second call undoes it."""
    for tensor in (each for group in optimizer.param_groups for each in group["params"]):
        state = optimizer.state.get(tensor, {})
        if AVERAGE in state:
            own, other = local(tensor), local(state[AVERAGE])
            kept = own.clone()
            own.copy_(other)
            other.copy_(kept)
