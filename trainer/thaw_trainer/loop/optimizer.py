"""The optimizer of a phase: only what is trained is in it; what goes on being trained keeps its moments."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from thaw_api.training import OptimizerSpec
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.loop.sharding import placed_like
from thaw_trainer.models.adapter import is_factor


def phase_optimizer(
    model: nn.Module,
    layout: Layout,
    phase: Phase,
    spec: OptimizerSpec,
    previous: torch.optim.Optimizer | None,
    turn: int = 0,
) -> torch.optim.Optimizer:
    """A new optimizer over what a turn of the phase trains.

    Tensors that `previous` has state of keep it, thawed ones start fresh. State of tensors that only another turn
    trains is held, and not stepped, where the phase keeps moments. Each group's peak rate is in `peak_lr`. Weight decay
    acts on tensors of two dimensions and more that are neither norms nor biases, nor factors (ia3), which change
    nothing where they are one and not where they are zero.
    """
    train, waiting = phase.trained_in(turn), phase.with_moments(turn)
    named = ((name, tensor) for name, tensor in model.named_parameters() if name in train)
    optimizer = new_optimizer(phase_groups(named, layout, phase, spec), spec)
    for name, tensor in model.named_parameters():
        if previous is not None and name in waiting and tensor in previous.state:
            optimizer.state[tensor] = previous.state[tensor]
    return optimizer


def phase_groups(
    named: Iterable[tuple[str, nn.Parameter]], layout: Layout, phase: Phase, spec: OptimizerSpec
) -> list[dict[str, Any]]:
    """Groups of an optimizer for some of a phase's tensors, each with all of its settings."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    weight_decay = spec.weight_decay if phase.weight_decay is None else phase.weight_decay
    for name, tensor in named:
        plain = tensor.ndim < 2 or layout.kind[name] & {"norm", "bias"} or is_factor(name)
        groups.setdefault((phase.lr[name], 0.0 if plain else weight_decay), []).append(tensor)
    first, second = spec.betas or (0.9, 0.999)
    own = {"momentum": spec.momentum} if spec.name == "sgd" else {"betas": (first, second), "eps": spec.eps}
    return [
        {"params": tensors, "lr": lr, "peak_lr": lr, "weight_decay": decay, **own}
        for (lr, decay), tensors in groups.items()
    ]


def new_optimizer(groups: list[dict[str, Any]], spec: OptimizerSpec) -> torch.optim.Optimizer:
    """An optimizer of a kind over groups that `phase_groups` made."""
    return torch.optim.SGD(groups) if spec.name == "sgd" else torch.optim.AdamW(groups, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Puts every group's rate to its peak times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """The optimizer's state as `<moment>/<tensor's name>` -> tensor, divided as the tensor is."""
    return {
        f"{key}/{name}": value
        for name, tensor in model.named_parameters()
        for key, value in optimizer.state.get(tensor, {}).items()
        if isinstance(value, torch.Tensor)
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, model: nn.Module, saved: dict[str, torch.Tensor], wanted: frozenset[str]
) -> None:
    """Puts whole moments, named as in `optimizer_tensors`, in for the tensors of these names."""
    named = dict(model.named_parameters())
    for key, value in saved.items():
        moment, _, name = key.partition("/")
        if name in wanted:
            optimizer.state[named[name]][moment] = placed_like(named[name], value) if value.ndim else value
