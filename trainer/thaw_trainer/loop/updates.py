"""One optimizer step's arithmetic, for one trial or for each of several."""

import math

import torch
from torch import nn

from thaw_trainer.errors import LOSS_NOT_FINITE, TrainerError


def scale_and_clip(tensors: list[nn.Parameter], scale: torch.Tensor, clip_norm: float) -> None:
    """Multiplies gradients, then scales them down to a norm; 0 does not clip."""
    torch._foreach_mul_([tensor.grad for tensor in tensors if tensor.grad is not None], scale)
    if clip_norm > 0:
        torch.nn.utils.clip_grad_norm_(tensors, clip_norm, foreach=True)


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
