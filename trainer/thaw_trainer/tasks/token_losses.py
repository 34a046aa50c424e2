"""Cross-entropy over many tokens and a large vocabulary, without a second copy of the logits in float32.

F.cross_entropy keeps the logarithm of every share for the backward, in float32: with logits in bfloat16 twice their
memory, on top of a float32 copy. Here the backward computes the shares again from the logits themselves, some tokens at
a time.
"""

from typing import Any

import torch

_TOKENS = 1024
"""Computed at a time."""


def token_losses(logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """The loss of each token [n], in float32.

    Args:
        logits: [n, vocabulary].
        targets: [n].
        smoothing: share of the target that is spread over the whole vocabulary.
    """
    losses: torch.Tensor = _TokenLosses.apply(logits, targets, smoothing)
    return losses


class _TokenLosses(torch.autograd.Function):
    """Computes, and knows its own gradient."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        """The losses [n]."""
        losses, normalizers = (torch.empty(len(targets), device=logits.device) for _ in range(2))
        for first in range(0, len(targets), _TOKENS):
            span = slice(first, first + _TOKENS)
            part = logits[span].float()
            aim = part.gather(1, targets[span, None]).squeeze(1)
            if smoothing:
                aim = (1 - smoothing) * aim + smoothing * part.mean(dim=1)
            normalizers[span] = part.logsumexp(dim=1)
            losses[span] = normalizers[span] - aim
        ctx.save_for_backward(logits, targets, normalizers)
        ctx.smoothing = smoothing
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The logits' gradient: each share, less what it should be."""
        logits, targets, normalizers = ctx.saved_tensors
        found = torch.empty_like(logits)
        for first in range(0, len(targets), _TOKENS):
            span = slice(first, first + _TOKENS)
            part = (logits[span].float() - normalizers[span, None]).exp_()
            if ctx.smoothing:
                part -= ctx.smoothing / logits.shape[1]
            part[torch.arange(len(part), device=part.device), targets[span]] -= 1 - ctx.smoothing
            found[span] = part.mul_(gradients[0][span, None])
        return found, None, None
