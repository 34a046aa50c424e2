from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from thaw_trainer.tasks.token_losses import token_losses


@pytest.mark.parametrize("tokens", [0, 1, 1024, 2500])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_losses_and_gradients_are_those_of_torch(
    tokens: int, smoothing: float, dtype: torch.dtype, tolerance: float
) -> None:
    random = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(tokens, 37, generator=random)).to(dtype).requires_grad_()
    targets = torch.randint(37, (tokens,), generator=random)
    weights = torch.rand(tokens, generator=random)
    told = []
    for losses in (
        token_losses(logits, targets, smoothing),
        F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing),
    ):
        torch.autograd.backward((losses * weights).sum())
        assert logits.grad is not None
        told.append((losses.detach(), logits.grad.float()))
        logits.grad = None
    assert told[0][0].dtype == torch.float32
    for mine, theirs in zip(*told, strict=True):
        assert torch.allclose(mine, theirs, atol=tolerance)


def test_a_loss_that_is_not_finite_stays_so() -> None:
    losses = token_losses(torch.tensor([[1.0, float("nan")], [1.0, 2.0]]), torch.tensor([0, 1]))
    assert losses[0].isnan()
    assert losses[1].isfinite()
