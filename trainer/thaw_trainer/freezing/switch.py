"""A phase put into effect on a module: gradients, modes, and nothing left of what is now frozen."""

from types import MethodType

from torch import nn

from thaw_trainer.freezing.layout import Layout


def set_trainable(model: nn.Module, layout: Layout, train: frozenset[str]) -> None:
    """Makes exactly the tensors of `train` trainable.

    Frozen tensors lose their gradient, since an optimizer would go on moving them by a stale one. Frozen modules are
    held in eval mode, whatever calls `train()`: requires_grad=False stops neither dropout nor batch statistics
    (pytorch#66073). So is what a stack that holds a frozen block does by itself: dropout of its input, LayerDrop.
    """
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in train)
        tensor.grad = None
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == train & layout.place.keys()
    _hold_frozen_in_eval(model)
    for parent, blocks in layout.stacks.items():
        if parent and any(_is_frozen(model.get_submodule(block)) for block in blocks):
            _hold_stack_in_eval(model.get_submodule(parent))


def _hold_frozen_in_eval(module: nn.Module) -> None:
    """Pins each module whose every tensor is frozen."""
    module.__dict__.pop("train", None)
    if _is_frozen(module):
        _hold_in_eval(module)
    else:
        for child in module.children():
            _hold_frozen_in_eval(child)


def _is_frozen(module: nn.Module) -> bool:
    tensors = list(module.parameters())
    return bool(tensors) and not any(tensor.requires_grad for tensor in tensors)


def _hold_in_eval(module: nn.Module) -> None:
    module.eval()
    for each in module.modules():
        each.__dict__["train"] = MethodType(_stay_in_eval, each)


def _hold_stack_in_eval(stack: nn.Module) -> None:
    """Holds a stack's own flag, and modules without tensors beside its blocks; the blocks follow `train()`."""
    if _is_frozen(stack):
        return
    stack.training = False
    stack.__dict__["train"] = MethodType(_train_children_only, stack)
    for child in stack.children():
        if not any(True for _ in child.parameters()):
            _hold_in_eval(child)


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `nn.Module.train` on a frozen module."""
    return module


def _train_children_only(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `nn.Module.train` on a stack that holds a frozen block."""
    for child in module.children():
        child.train(mode)
    return module
