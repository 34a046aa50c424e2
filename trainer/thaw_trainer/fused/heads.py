"""The heads of several trials as one computation over one body (HFTA, arXiv 2102.02344)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, vmap


class Head:
    """One trial's own tensors, by the model's names. An optimizer takes them as it takes a module's."""

    def __init__(self, model: nn.Module, names: frozenset[str]) -> None:
        self.tensors = {
            name: nn.Parameter(tensor.detach().clone()) for name, tensor in model.named_parameters() if name in names
        }

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As a module's."""
        return iter(self.tensors.items())


class WithTensors:
    """A model that computes with other tensors than its own."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        self._model, self._tensors = model, dict(tensors)

    def eval(self) -> "WithTensors":
        """As the model's."""
        self._model.eval()
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the model's."""
        return functional_call(self._model, self._tensors, args, kwargs)


def losses_of(
    model: nn.Module, heads: list[Head], step: Callable[[Any], tuple[torch.Tensor, float]]
) -> tuple[torch.Tensor, float]:
    """Each head's summed loss [heads] of one batch, and the count, which is the same for all.

    What all heads share is computed once. Dropout draws the same numbers for each of them, and the same as a trial by
    itself draws.

    Args:
        step: the task's step, for whatever it is given as the model.
    """
    stacked = {name: torch.stack([head.tensors[name] for head in heads]) for name in heads[0].tensors}
    counts: list[float] = []

    def loss_of(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        loss, count = step(WithTensors(model, tensors))
        counts.append(count)
        return loss

    losses: torch.Tensor = vmap(loss_of, randomness="same")(stacked)
    return losses, counts[0]
