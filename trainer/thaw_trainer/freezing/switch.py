"""A phase put into effect on a module: gradients, modes, and nothing left of what is now frozen."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import MethodType

from torch import nn

from thaw_api.freezing import FreezingSpec
from thaw_trainer.freezing.layout import Layout


@dataclass(frozen=True)
class FrozenPolicy:
    """What goes on in frozen modules."""

    statistics_move: bool = False
    """Whether running statistics (BatchNorm) follow the batches, and the module uses those of its batch."""
    dropout: bool = False
    """Whether whatever is random in train mode stays so: dropout, LayerDrop."""

    @staticmethod
    def of(freezing: FreezingSpec) -> "FrozenPolicy":
        """The policy of a schedule."""
        return FrozenPolicy(freezing.frozen_norms == "train", freezing.frozen_dropout == "on")

    def impurity(self, frozen: Iterable[nn.Module]) -> str | None:
        """Why these frozen modules are no pure function of their input during training; None: they are one.

        With dropout on this is said of every module: functional dropout leaves no trace to look for.
        """
        if self.dropout:
            return "freezing.frozenDropout is on"
        if self.statistics_move and any(_has_statistics(each) for module in frozen for each in module.modules()):
            return "freezing.frozenNorms is train, and running statistics are below what is trained"
        return None


def modules_below(model: nn.Module, layout: Layout, train: frozenset[str]) -> list[nn.Module]:
    """Blocks below the lowest tensor of `train`, and the modules that own what is defined below the blocks."""
    boundary = min(layout.place[name] for name in train)
    blocks = [name for block in layout.block_modules[: max(boundary, 0)] for name in block]
    # Fixed tensors too: those of a model that has an adapter are all that its stem has.
    below = [name for name, place in layout.place_of_name.items() if place == -1] if boundary >= 0 else []
    owners = {name.rpartition(".")[0] for name in below}
    return [model.get_submodule(name) for name in (*blocks, *sorted(owners))]


def set_trainable(
    model: nn.Module, layout: Layout, train: frozenset[str], policy: FrozenPolicy = FrozenPolicy()
) -> None:
    """Makes exactly the tensors of `train` trainable.

    Frozen tensors lose their gradient, since an optimizer would go on moving them by a stale one. Frozen modules are
    held in eval mode, whatever calls `train()`: requires_grad=False stops neither dropout nor batch statistics
    (pytorch#66073). So is what a stack that holds a frozen block does by itself: dropout of its input, LayerDrop.
    `policy` lets some of it go on.
    """
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in train)
        tensor.grad = None
    assert {name for name, tensor in model.named_parameters() if tensor.requires_grad} == train & layout.place.keys()
    _hold_frozen_in_eval(model, policy)
    if policy.dropout:
        return
    frozen = [name for blocks in layout.block_modules for name in blocks if _is_frozen(model.get_submodule(name))]
    for parent, blocks in layout.stacks.items():
        if parent and set(blocks) & set(frozen):
            _hold_stack_in_eval(model.get_submodule(parent), policy)
    for module in model.modules():
        # Masks frames before its encoder reads them (SpecAugment in wav2vec2 and its kin, Whisper), by its own flag.
        if frozen and (hasattr(module, "masked_spec_embed") or hasattr(module, "_mask_input_features")):
            module.training = False
            module.__dict__["train"] = MethodType(_train_children_only, module)


def _hold_frozen_in_eval(module: nn.Module, policy: FrozenPolicy) -> None:
    """Pins each module whose every tensor is frozen."""
    module.__dict__.pop("train", None)
    if _is_frozen(module):
        _hold(module, policy)
    else:
        for child in module.children():
            _hold_frozen_in_eval(child, policy)


def _hold(module: nn.Module, policy: FrozenPolicy) -> None:
    """Pins what the policy does not let go on in a frozen module, and in those inside it."""
    for child in module.children():
        _hold(child, policy)
    moves = policy.statistics_move if _has_statistics(module) else policy.dropout
    if moves:
        module.__dict__.pop("train", None)
    else:
        module.training = False
        module.__dict__["train"] = MethodType(_train_children_only, module)


def _has_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _is_frozen(module: nn.Module) -> bool:
    tensors = list(module.parameters())
    return bool(tensors) and not any(tensor.requires_grad for tensor in tensors)


def _hold_stack_in_eval(stack: nn.Module, policy: FrozenPolicy) -> None:
    """Holds a stack's own flag, and modules without tensors beside its blocks; the blocks follow `train()`."""
    if _is_frozen(stack):
        return
    stack.training = False
    stack.__dict__["train"] = MethodType(_train_children_only, stack)
    for child in stack.children():
        if not any(True for _ in child.parameters()):
            _hold(child, policy)


def _train_children_only(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stands in for `nn.Module.train` on a module that is held itself; what is inside it is held or is not."""
    for child in module.children():
        child.train(mode)
    return module
