"""A phase put into effect on a module: gradients, modes, and nothing left of what is now frozen."""

from types import MethodType

from torch import nn

from thaw_trainer.freezing.layout import Layout


def set_trainable(model: nn.Module, layout: Layout, train: frozenset[str]) -> None:
    """Makes exactly the tensors of `train` trainable.

    Frozen tensors lose their gradient, since an optimizer would go on moving them by a stale one. Frozen modules are
    held in eval mode, whatever calls `train()`: requires_grad=False stops neither dropout nor batch statistics
    (pytorch#66073).
    """
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in train)
        tensor.grad = None
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == train & layout.place.keys()
    _hold_frozen_in_eval(model)


def _hold_frozen_in_eval(module: nn.Module) -> bool:
    """Pins each module whose every tensor is frozen; returns whether this one is such."""
    module.__dict__.pop("train", None)
    tensors = list(module.parameters())
    frozen = bool(tensors) and not any(tensor.requires_grad for tensor in tensors)
    if frozen:
        module.eval()
        for each in module.modules():
            each.__dict__["train"] = MethodType(_stay_in_eval, each)
    else:
        for child in module.children():
            _hold_frozen_in_eval(child)
    return frozen


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `nn.Module.train` on a frozen module."""
    return module
