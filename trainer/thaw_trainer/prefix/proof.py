"""Replay is proved before it is used: on two batches of other widths, in train mode, loss and gradients must be those
of computing everything, to the last bit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from thaw_trainer.loop.randomness import seed_stream, untouched_process

Step = Callable[[], torch.Tensor]
"""Runs the model on one batch and returns the summed loss."""


def first_difference(model: nn.Module, direct: Sequence[Step], replayed: Sequence[Step]) -> str | None:
    """What differs between steps that compute and ones that replay; None when nothing does.

    Each pair begins with the same random numbers and the same buffers. All batches are computed before the first is
    replayed, so that what a model keeps from one forward to the next is another batch's. Where two computed steps
    differ too, as with some kernels of GPUs, the replayed one may differ as much.

    Args:
        direct: one step for each batch.
        replayed: the same, with stand-ins.
    """
    with untouched_process():
        model.train()
        wanted = [_loss_and_gradients(model, step) for step in direct]
        for step, replay, (loss, gradients) in zip(direct, replayed, wanted, strict=True):
            try:
                found, found_gradients = _loss_and_gradients(model, replay)
            except Exception as error:  # whatever a model's code makes of stand-ins
                return f"the model fails: {type(error).__name__}: {error}"
            if not torch.isfinite(found) and torch.isfinite(loss):
                return "what is left out is read: the loss becomes NaN"
            if found_gradients.keys() != gradients.keys():
                return f"other tensors get a gradient: {sorted(found_gradients.keys() ^ gradients.keys())[:3]}"
            pairs = {"the loss": (found, loss)}
            pairs |= {f"the gradient of {name}": (each, gradients[name]) for name, each in found_gradients.items()}
            unequal = {name: pair for name, pair in pairs.items() if not torch.equal(*pair)}
            if unequal and (difference := _beyond_noise(unequal, _loss_and_gradients(model, step))):
                return difference
    return None


def _beyond_noise(
    unequal: Mapping[str, tuple[torch.Tensor, torch.Tensor]], again: tuple[torch.Tensor, dict[str, torch.Tensor]]
) -> str | None:
    """The first pair that differs by more than a second computation does."""
    for name, (found, wanted) in unequal.items():
        other = again[0] if name == "the loss" else again[1][name.removeprefix("the gradient of ")]
        noise = (wanted - other).abs().max().item()
        difference = (found - wanted).abs().max().item()
        if noise == 0 or not difference <= 2 * noise:
            return f"{name} differs by {difference:.3g}"
    return None


def _loss_and_gradients(model: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    seed_stream(0, "proof")
    try:
        with _buffers_kept(model):
            loss = step()
            torch.autograd.backward(loss)
        return loss.detach(), {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    finally:
        for tensor in model.parameters():
            tensor.grad = None


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Puts running statistics back."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
