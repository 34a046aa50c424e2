"""One optimizer step's arithmetic, for one trial or for each of several."""

import math

import torch
from torch import nn

from thaw_trainer.errors import LOSS_NOT_FINITE, TrainerError
from thaw_trainer.loop.sharding import local, total_norm


def scale_and_clip(tensors: list[nn.Parameter], scale: torch.Tensor, clip_norm: float) -> None:
    """Multiplies gradients, and more where their norm would still be above a limit; 0 does not limit.

    One pass over them reads and one writes: gradients of a large model are memory's speed.
    """
    gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
    if clip_norm > 0:
        norm = total_norm(gradients) * scale
        scale = scale * (clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    torch._foreach_mul_([local(gradient) for gradient in gradients], scale)


def check_finite(losses: list[torch.Tensor], epoch: int) -> list[float]:
    """Losses of an epoch's steps as numbers.

    Args:
        epoch: from 1, for the error.

    Raises:
        TrainerError: LossNotFinite.
    """
    values: list[float] = torch.stack(losses).tolist()
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise loss_not_finite(value, step, epoch)
    return values


def loss_not_finite(value: float, step: int, epoch: int) -> TrainerError:
    """The error of a loss that became NaN or infinite."""
    return TrainerError(
        LOSS_NOT_FINITE,
        f"the loss became {value} in step {step} of epoch {epoch}; a lower rate or clipNorm may help",
        "spec.training.optimizer.lr",
    )
