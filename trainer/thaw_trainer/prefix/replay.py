"""A model's own forward with stand-ins for what lies below a boundary.

The boundary's blocks give the recorded tensors; every other module below gives NaN of the right shape, so that whatever
else the model would read of them cannot go unnoticed. No code per architecture: where a model reads more of its
prefix than its blocks' outputs, the proof finds NaN and replay is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from thaw_trainer.prefix.structure import Structure, nothing, rebuild


class Replay:
    """Stand-ins in a module; they act inside `with replay.giving(...)` only."""

    def __init__(self, model: nn.Module, names: Iterable[str], writable: bool = False) -> None:
        """`names`: every module that gets a stand-in; `writable`: see `nothing`."""
        self._writable = writable
        self._modules = {name: model.get_submodule(name) for name in names}
        self._outputs: dict[str, Any] | None = None
        for name, module in self._modules.items():
            module.__dict__["forward"] = partial(self._answer, name, module.forward)

    def remove(self) -> None:
        """Makes the modules compute again."""
        for module in self._modules.values():
            module.__dict__.pop("forward", None)

    @contextmanager
    def giving(
        self, structures: Mapping[str, Structure], recorded: Mapping[str, list[torch.Tensor]], device: torch.device
    ) -> Iterator[None]:
        """The stand-ins answer for one batch.

        Args:
            structures: what each module returns for a batch of this shape.
            recorded: the tensors of those whose output is kept.
        """
        self._outputs = {
            name: rebuild(structure, recorded[name]) if name in recorded else nothing(structure, device, self._writable)
            for name, structure in structures.items()
        }
        try:
            yield
        finally:
            self._outputs = None

    def _answer(self, name: str, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._outputs is None:
            return compute(*args, **kwargs)
        return self._outputs[name]
