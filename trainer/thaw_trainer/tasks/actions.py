"""The distribution of a policy's actions: one of several by their logits, or a vector of independent normal numbers.

Everywhere `scores` are logits or means [rows, size], and `log_std` [rows, size], of no numbers where actions are
discrete.
"""

import math

import torch

_LOG_2_PI = math.log(2 * math.pi)


def draw(scores: torch.Tensor, log_std: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Actions: numbers from 0 [rows], or vectors [rows, size].

    Args:
        noise: uniform in [0, 1) [rows] for discrete actions, standard normal [rows, size] for vectors.
    """
    if log_std.shape[-1]:
        return scores + log_std.exp() * noise
    reached = scores.double().softmax(dim=-1).cumsum(dim=-1)
    return (reached <= noise[:, None]).sum(dim=-1).clamp(max=scores.shape[-1] - 1)


def log_probability(scores: torch.Tensor, log_std: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Of each row's action [rows]; a density where actions are vectors."""
    if log_std.shape[-1]:
        away = (actions - scores) / log_std.exp()
        return -(0.5 * away.square() + log_std + 0.5 * _LOG_2_PI).sum(dim=-1)
    return scores.log_softmax(dim=-1).gather(-1, actions[:, None]).squeeze(-1)


def entropy(scores: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Of each row's distribution [rows], in nats."""
    if log_std.shape[-1]:
        return (log_std + 0.5 * (1 + _LOG_2_PI)).sum(dim=-1)
    logs = scores.log_softmax(dim=-1)
    return -(logs.exp() * logs).sum(dim=-1)


def divergence(
    scores: torch.Tensor, log_std: torch.Tensor, others: torch.Tensor, other_log_std: torch.Tensor
) -> torch.Tensor:
    """KL(first || other) of each row [rows], in nats."""
    if log_std.shape[-1]:
        ratio = (2 * (log_std - other_log_std)).exp()
        away = ((scores - others) / other_log_std.exp()).square()
        return (0.5 * (ratio + away - 1) + other_log_std - log_std).sum(dim=-1)
    logs = scores.log_softmax(dim=-1)
    return (logs.exp() * (logs - others.log_softmax(dim=-1))).sum(dim=-1)
