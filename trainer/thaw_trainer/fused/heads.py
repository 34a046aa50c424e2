"""The heads of several trials as one computation over one body (HFTA, arXiv 2102.02344)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.func import vmap

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.loop.optimizer import new_optimizer, phase_groups
from thaw_trainer.tasks.protocol import Outputs


class Heads:
    """The trained tensors of several trials, one stacked tensor [trials, ...] for each of the model's names."""

    def __init__(self, model: nn.Module, names: frozenset[str], trials: int) -> None:
        """Every trial begins with the model's own."""
        self._model = model
        self.stacked = {
            name: nn.Parameter(tensor.detach().expand(trials, *tensor.shape).clone())
            for name, tensor in model.named_parameters()
            if name in names
        }
        self.slices = [
            {name: nn.Parameter(tensor.detach()[trial]) for name, tensor in self.stacked.items()}
            for trial in range(trials)
        ]
        """Each trial's tensors: views of the stacked ones, for an optimizer."""

    def losses(self, step: Callable[[Any], tuple[torch.Tensor, float]]) -> tuple[torch.Tensor, float]:
        """Each trial's summed loss [trials] of one batch, and the count, which is the same for all.

        What all trials share is computed once. Dropout draws the same numbers for each of them, and the same as a trial
        by itself draws.

        Args:
            step: the task's step, for whatever it is given as the model.
        """
        counts: list[float] = []

        def loss_of(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
            loss, count = step(WithTensors(self._model, tensors))
            counts.append(count)
            return loss

        losses: torch.Tensor = vmap(loss_of, randomness="same")(self.stacked)
        return losses, counts[0]

    def outputs(self, compute: Callable[[Any], Outputs]) -> Outputs:
        """What a model computes with each trial's tensors: [trials, ...] by name.

        Args:
            compute: for whatever it is given as the model.
        """

        def outputs_of(tensors: Mapping[str, torch.Tensor]) -> Outputs:
            return compute(WithTensors(self._model, tensors))

        outputs: Outputs = vmap(outputs_of)(self.stacked)
        return outputs

    def scale_and_clip(self, scale: float, clip_norm: float) -> None:
        """Multiplies gradients, clips each trial's to a norm (0 does not clip), and gives them to the slices."""
        gradients = {name: tensor.grad for name, tensor in self.stacked.items() if tensor.grad is not None}
        torch._foreach_mul_(list(gradients.values()), scale)
        if clip_norm > 0:
            norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients.values()]
            whole = torch.linalg.vector_norm(torch.stack(norms), dim=0)
            shrink = (clip_norm / (whole + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
            for gradient in gradients.values():
                gradient.mul_(shrink.reshape(-1, *[1] * (gradient.ndim - 1)))
        for name, gradient in gradients.items():
            for own, part in zip(self.slices, gradient.unbind(), strict=True):
                own[name].grad = part

    def drop_gradients(self) -> None:
        """After a step."""
        for name, tensor in self.stacked.items():
            tensor.grad = None
            for own in self.slices:
                own[name].grad = None

    def of(self, trial: int) -> dict[str, torch.Tensor]:
        """One trial's tensors, as they are now."""
        return {name: tensor.detach() for name, tensor in self.slices[trial].items()}

    def moments(self, trial: int, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
        """A copy of one trial's optimizer state, as `optimizer_tensors` has it."""
        return {
            f"{key}/{name}": value.clone()
            for name, tensor in self.slices[trial].items()
            for key, value in optimizer.state.get(tensor, {}).items()
            if isinstance(value, torch.Tensor)
        }


def heads_optimizer(
    heads: Heads, layout: Layout, trials: Sequence[tuple[FineTuneJobSpec, Phase]]
) -> torch.optim.Optimizer:
    """One optimizer for all trials, which are all of one kind: each trial's tensors are groups of their own."""
    groups: list[dict[str, Any]] = []
    for (spec, phase), own in zip(trials, heads.slices, strict=True):
        groups += phase_groups(own.items(), layout, phase, spec.training.optimizer)
    return new_optimizer(groups, trials[0][0].training.optimizer)


class WithTensors:
    """A model that computes with other tensors than some of its own (torch.func.functional_call, without its walk over
    all modules in each call)."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
        self._model = model
        places = {name: name.rpartition(".") for name in tensors}
        self._slots = [
            (model.get_submodule(places[name][0])._parameters, places[name][2], tensor)
            for name, tensor in tensors.items()
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As the model's."""
        with self._swapped():
            return self._model(*args, **kwargs)

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        own: list[Any] = [slots[name] for slots, name, _ in self._slots]
        try:
            for slots, name, tensor in self._slots:
                slots[name] = tensor  # type: ignore[assignment]
            yield
        finally:
            for (slots, name, _), tensor in zip(self._slots, own, strict=True):
                slots[name] = tensor
