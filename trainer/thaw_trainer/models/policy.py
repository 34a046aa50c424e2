"""A policy: layers that end in what to do, beside layers that end in what the state is worth (actor and critic)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from thaw_trainer.data.environments import EnvironmentFacts

Activation = Literal["tanh", "relu", "elu", "gelu", "silu"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
ACTIVATIONS = tuple(_ACTIVATIONS)
_FIRST_ACTIONS, _FIRST_VALUES = 0.01, 1.0
"""Gains of a new head, which begins with nearly equal actions (arXiv 2006.05990, section 3.2)."""


@dataclass(frozen=True)
class PolicyConfig:
    """A policy's shape."""

    observation: int
    actions: Literal["discrete", "continuous"]
    size: int
    """How many actions there are to choose from, or numbers of one action."""
    policy: tuple[int, ...]
    """Sizes of the layers below the actions."""
    value: tuple[int, ...]
    """Sizes of the layers below the value."""
    activation: Activation = "tanh"

    def difference(self, facts: EnvironmentFacts) -> str | None:
        """What of an environment the policy does not fit; None where it fits."""
        if self.observation != facts.observation:
            return f"the policy observes {self.observation} numbers, the environment gives {facts.observation}"
        if (self.actions, self.size) != (facts.actions, facts.size):
            return f"the policy has {self.size} {self.actions} actions, the environment {facts.size} {facts.actions}"
        return None


class Layer(nn.Module):
    """A linear layer and its activation."""

    def __init__(self, inputs: int, outputs: int, activation: str) -> None:
        super().__init__()
        self.linear = _orthogonal(inputs, outputs, np.sqrt(2))
        self.activation = _ACTIVATIONS[activation]()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[rows, inputs] to [rows, outputs]."""
        outputs: torch.Tensor = self.activation(self.linear(inputs))
        return outputs


class Body(nn.Module):
    """The two lists of layers, which run side by side: block n of a policy is the n-th of both."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.policy = _layers(config.observation, config.policy, config.activation)
        self.value = _layers(config.observation, config.value, config.activation)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What both see in observations [rows, numbers]."""
        acting = judging = observations
        for layer in self.policy:
            acting = layer(acting)
        for layer in self.value:
            judging = layer(judging)
        return acting, judging


class Head(nn.Module):
    """Actions and values, and of continuous actions the logarithm of their standard deviations."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.actions = _orthogonal((config.observation, *config.policy)[-1], config.size, _FIRST_ACTIONS)
        self.values = _orthogonal((config.observation, *config.value)[-1], 1, _FIRST_VALUES)
        self.log_std = nn.Parameter(torch.zeros(config.size if config.actions == "continuous" else 0))


class Policy(nn.Module):
    """See PolicyConfig."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.body = Body(config)
        self.head = Head(config)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scores [rows, size] (logits, or means), log standard deviations [rows, size or 0], and values [rows]."""
        acting, judging = self.body(observations.to(self.head.actions.weight.dtype))
        spread = self.head.log_std.expand(observations.shape[0], -1)  # len() would fix it in an export
        return self.head.actions(acting).float(), spread.float(), self.head.values(judging).squeeze(-1).float()

    def reset_head(self, which: Literal["values", "all"]) -> None:
        """Makes the head's layers anew, from torch's generator."""
        fresh = Head(self.config)
        with torch.no_grad():
            self.head.values.load_state_dict(fresh.values.state_dict())
            if which == "all":
                self.head.load_state_dict(fresh.state_dict())


def best_actions(scores: torch.Tensor, facts: EnvironmentFacts) -> torch.Tensor:
    """The likeliest action of each row, as the environment takes it: a number, or a vector within its bounds."""
    if facts.actions == "discrete":
        return scores.argmax(dim=-1) + facts.first
    return bounded(scores, facts)


def bounded(actions: torch.Tensor, facts: EnvironmentFacts) -> torch.Tensor:
    """Continuous actions [rows, size] within the environment's bounds."""
    low, high = (torch.tensor(each, device=actions.device) for each in (facts.low, facts.high))
    return actions.clamp(low, high)


def _layers(inputs: int, sizes: tuple[int, ...], activation: str) -> nn.ModuleList:
    return nn.ModuleList(Layer(before, size, activation) for before, size in zip((inputs, *sizes), sizes, strict=False))


def _orthogonal(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer: Any = nn.Linear(inputs, outputs)
    if layer.weight.device.type != "meta":
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return layer  # type: ignore[no-any-return]
