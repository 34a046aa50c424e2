"""A model that is divided among a gang's workers: each holds its share of weights, gradients and optimizer state.

FSDP2 divides each block, then what is left (arXiv 2304.11277). A tensor becomes a DTensor of which a worker holds some
rows; a block is whole while it computes. `torch.distributed.tensor` takes half a second to import: only here, and only
when it is needed.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import nn

from thaw_trainer.errors import MODEL_NOT_DIVISIBLE, TrainerError
from thaw_trainer.freezing.layout import Layout

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    from thaw_trainer.loop.distributed import Gang

_FIELD = "spec.training.sharding"


def shard(model: nn.Module, layout: Layout, gang: "Gang") -> None:
    """Divides a whole model, the same on every worker, in place; names, buffers and hooks stay as they are.

    Once for a trial: its phases change requires_grad, which FSDP2 reads anew whenever a block becomes whole.

    Raises:
        TrainerError: ModelNotDivisible.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _refuse_what_would_hang(model)
    blocks = _separable_blocks(model, layout)
    _refuse_mixed_types(model, layout, blocks)
    if gang.device.type == "cuda":
        torch.cuda.set_device(gang.device)  # where FSDP2 puts what it divides
    mesh = init_device_mesh(gang.device.type, (gang.size,))
    for name in blocks:
        fully_shard(model.get_submodule(name), mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)  # the backward begins with it at once


def is_divided(model: nn.Module) -> bool:
    """Whether `shard` has divided this model."""
    return getattr(model, "_is_fsdp_managed_module", False) is True


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Inside, each worker has the whole model and computes by itself; gradients stay its own, and are dropped after.

    Else each forward and backward would wait for every other worker's, and workers do not have the same number of
    them: of validation batches, or of tries of a proof. Every worker must enter; what is changed inside is lost.
    """
    if not is_divided(model):
        yield
        return
    parts = [cast("FSDPModule", module) for module in model.modules() if hasattr(module, "unshard")]
    root = cast("FSDPModule", model)
    _compute_alone(root, True)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
        if _has_begun(model):
            # What a forward without a backward, or one that failed, has left behind.
            root.reset_iter_state()
        _compute_alone(root, False)


def whole_tensors(tensors: Mapping[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """The whole of each divided tensor in the CPU's memory, one after the other; others as they are.

    Args:
        keep: whether this worker wants them; every worker must take part.
    """
    found = {}
    for name, tensor in tensors.items():
        if _is_shared_out(tensor):
            full = tensor.full_tensor()
            if keep:
                found[name] = full.cpu()
        elif keep:
            found[name] = tensor
    return found


def placed_like(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A whole value, known to every worker, divided as `tensor` is and on its device."""
    value = value.to(tensor.device)
    if not _is_shared_out(tensor):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this worker holds of a tensor, sharing its memory."""
    return tensor.to_local() if _is_shared_out(tensor) else tensor


def total_norm(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Norm of tensors together: of the whole ones, where workers hold shares. All are divided, or none is."""
    held = list(tensors)
    norm = torch.nn.utils.get_total_norm([local(tensor) for tensor in held], foreach=True)
    if not any(_is_shared_out(tensor) for tensor in held):
        return norm
    square = norm.square()
    torch.distributed.all_reduce(square)
    return square.sqrt()


class SameTensors:
    """Watches that the loss depends on the same tensors on every worker, as nothing else would tell: FSDP2 sums what
    workers send at the same place, be it another tensor's gradient."""

    def __init__(self, gang: "Gang", divided: bool) -> None:
        self._gang, self._looks = gang, divided and gang.size > 1
        self._found: list[torch.Tensor] = []

    def look(self, tensors: Sequence[torch.Tensor]) -> None:
        """Looks at the gradients of a step. Waits for no device."""
        if self._looks:
            own = zlib.crc32(bytes(tensor.grad is not None for tensor in tensors))
            every = torch.tensor(float(own), dtype=torch.float64, device=self._gang.device)
            self._gang.sum(every)
            self._found.append(every == self._gang.size * own)

    def check(self) -> None:
        """Of all steps so far.

        Raises:
            TrainerError: ModelNotDivisible.
        """
        if self._found and not torch.stack(self._found).all():
            message = "the loss depends on other tensors on one worker than on another; sharding: none trains it"
            raise TrainerError(MODEL_NOT_DIVISIBLE, message, _FIELD)
        self._found.clear()


def _is_shared_out(tensor: torch.Tensor) -> "TypeGuard[DTensor]":
    return hasattr(tensor, "placements")


def _has_begun(model: nn.Module) -> bool:
    """Whether a forward has been: before it, FSDP2 has nothing to put back, and fails."""
    from torch.distributed.fsdp import fully_shard

    return fully_shard.state(model)._is_root is not None  # type: ignore[attr-defined]


def _compute_alone(root: "FSDPModule", alone: bool) -> None:
    root.set_requires_gradient_sync(not alone)
    root.set_reshard_after_backward(not alone)
    root.set_reshard_after_forward(not alone)
    root.set_reshard_after_forward(False, recurse=False)


def _separable_blocks(model: nn.Module, layout: Layout) -> list[str]:
    """Blocks that own all of their tensors: one that is tied to elsewhere must be in one part with its other use."""
    owners: dict[int, set[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(tensor), set()).add(name)
    blocks = [name for names in layout.block_modules for name in names]
    return [
        block
        for block in blocks
        if all(
            name.startswith(f"{block}.")
            for tensor in model.get_submodule(block).parameters()
            for name in owners[id(tensor)]
        )
    ]


def _refuse_what_would_hang(model: nn.Module) -> None:
    for name, tensor in model.named_parameters():
        if tensor.ndim == 0:
            raise TrainerError(MODEL_NOT_DIVISIBLE, f"{name} is a single number, which cannot be divided", _FIELD)
    for name, module in model.named_modules():
        rates = [getattr(holder, "layerdrop", 0.0) for holder in (module, getattr(module, "config", None))]
        if any(isinstance(rate, float) and rate > 0 for rate in rates):
            # Each worker drops other layers, and would wait for ever for those that the others drop; families that
            # know of FSDP drop none, which is another result.
            message = f"{name or type(model).__name__} leaves out layers at random; its configuration's layerdrop must"
            raise TrainerError(MODEL_NOT_DIVISIBLE, f"{message} be 0, or sharding none", _FIELD)


def _refuse_mixed_types(model: nn.Module, layout: Layout, blocks: Sequence[str]) -> None:
    """FSDP2 sums the gradients of a part in one type, which it chooses when the first phase begins."""
    types: dict[str, set[torch.dtype]] = {}
    for name in layout.place:
        part = next((block for block in blocks if name.startswith(f"{block}.")), "what is outside the blocks")
        types.setdefault(part, set()).add(model.get_parameter(name).dtype)
    for part, found in types.items():
        if len(found) > 1:
            names = " and ".join(sorted(str(each).removeprefix("torch.") for each in found))
            raise TrainerError(MODEL_NOT_DIVISIBLE, f"{part} has trainable tensors of {names}", _FIELD)
