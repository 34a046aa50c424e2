"""What the workers of a gang do together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from thaw_trainer.loop.sharding import is_divided
from thaw_trainer.tasks.protocol import Share


@dataclass(frozen=True)
class Gang:
    """This worker among those that train one trial together."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def share(self) -> Share:
        """This worker's part of each batch."""
        return Share(self.rank, self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module whose backward averages gradients over the gang.

        Made anew in each phase: DDP collects the trainable tensors when it is made, and one that is thawed later
        would keep local gradients. Every worker has built the same module, so nothing is broadcast. Tensors that
        the loss does not depend on (XLNet has some) are looked for in each step: without, DDP would wait for them.
        A divided model averages by itself.
        """
        if self.size == 1 or is_divided(model):
            return model
        return DistributedDataParallel(model, init_sync=False, broadcast_buffers=False, find_unused_parameters=True)

    def sum(self, tensor: torch.Tensor) -> None:
        """Replaces a tensor by its sum over the gang."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def average_buffers(self, model: nn.Module) -> None:
        """Makes running statistics the same on every worker."""
        if self.size == 1:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(self.size)

    def gather(self, item: Any) -> list[Any]:
        """Every worker's item, on rank 0; an empty list elsewhere."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.gather_object(item, items if self.rank == 0 else None)
        return items if self.rank == 0 else []

    def broadcast(self, item: Any) -> Any:
        """Rank 0's item."""
        if self.size == 1:
            return item
        box = [item]
        dist.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def without_sync(model: nn.Module, skip: bool) -> Iterator[None]:
    """Leaves out the averaging of gradients, for all but the last part of an accumulated step.

    A divided model averages those of each part: until it does, every worker holds all of the gradient.
    """
    if skip and isinstance(model, DistributedDataParallel):
        with model.no_sync():
            yield
    else:
        yield
