"""The loss of rows with one class each, and with R-Drop the divergence of two passes that dropout makes differ."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from thaw_api.training import TrainingSpec


def row_losses(
    compute: Callable[[], torch.Tensor], losses_of: Callable[[torch.Tensor], torch.Tensor], training: TrainingSpec
) -> torch.Tensor:
    """The loss of each row [rows].

    With R-Drop of weight a, the mean of two passes' losses and a/4 (KL(p|q) + KL(q|p)): half of what its paper sums
    (arXiv 2106.14448), so that the rate means the same with and without.

    Args:
        compute: logits [rows, classes] of the batch, computed anew in each call.
        losses_of: the loss of each row of such logits.
    """
    logits = compute()
    weight = training.regularization.r_drop
    if not weight:
        return losses_of(logits)
    again = compute()
    losses = (losses_of(logits) + losses_of(again)) / 2
    return losses + weight / 4 * symmetric_divergence(logits, again)


def row_weights(
    weight: NDArray[np.float32], label: NDArray[Any], facts: Mapping[str, Any], training: TrainingSpec
) -> NDArray[np.float32]:
    """How much each row counts [rows]: as it is, or divided by its class's share of the training rows and the number of
    classes (`classWeights: balanced`).

    Args:
        weight: 1 counts, 0 fills up [rows].
        facts: the store's: rows of each class.
    """
    if training.class_weights == "none":
        return weight
    counts = np.asarray([facts["classes"]["train"][name] for name in facts["labels"]], dtype=np.float64)
    of_class = counts.sum() / (len(counts) * np.maximum(counts, 1))
    weighted: NDArray[np.float32] = (weight * of_class[label]).astype(np.float32)
    return weighted


def symmetric_divergence(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """KL(p|q) + KL(q|p) of the classes of two logits [rows, classes]: [rows], in nats."""
    one, other = F.log_softmax(first.float(), dim=-1), F.log_softmax(second.float(), dim=-1)
    return ((one.exp() - other.exp()) * (one - other)).sum(-1)
