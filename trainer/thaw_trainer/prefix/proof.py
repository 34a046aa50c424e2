"""Replay is proved before it is used: on two batches of other widths, in train mode, loss and gradients must be those
of computing everything, to the last bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from thaw_trainer.loop.randomness import seed_stream, untouched_process

Step = Callable[[], torch.Tensor]
"""Runs the model on one batch and returns the summed loss."""


def first_difference(model: nn.Module, direct: Step, replayed: Step) -> str | None:
    """What differs between a step that computes and one that replays; None when nothing does.

    Both begin with the same random numbers and the same buffers. Where two computed steps differ too, as with some
    kernels of GPUs, the replayed one may differ as much.
    """
    with untouched_process():
        model.train()
        wanted, wanted_grads = _loss_and_gradients(model, direct)
        loss, grads = _loss_and_gradients(model, replayed)
        noise = _loss_and_gradients(model, direct)
    if not torch.isfinite(loss) and torch.isfinite(wanted):
        return "what is left out is read: the loss becomes NaN"
    if _differs(loss, wanted, noise[0]):
        return f"the loss is {loss.item()!r} instead of {wanted.item()!r}"
    if grads.keys() != wanted_grads.keys():
        return f"other tensors get a gradient: {sorted(grads.keys() ^ wanted_grads.keys())[:3]}"
    for name, grad in grads.items():
        if _differs(grad, wanted_grads[name], noise[1][name]):
            return f"the gradient of {name} differs by {(grad - wanted_grads[name]).abs().max().item():.3g}"
    return None


def _loss_and_gradients(model: nn.Module, step: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    seed_stream(0, "proof")
    with _buffers_kept(model):
        loss = step()
        torch.autograd.backward(loss)
    grads = {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}
    for tensor in model.parameters():
        tensor.grad = None
    return loss.detach(), grads


def _differs(value: torch.Tensor, wanted: torch.Tensor, again: torch.Tensor) -> bool:
    if torch.equal(value, wanted):
        return False
    noise = (wanted - again).abs().max()
    return bool(noise == 0 or not (value - wanted).abs().max() <= 2 * noise)


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
