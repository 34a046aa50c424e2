"""What environments answer to a policy, and how much better each action was than expected."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Policy: TypeAlias = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""From observations [rows, numbers] to scores, log standard deviations and values; see models.policy."""


@dataclass(frozen=True)
class Transitions:
    """What was seen, done and learned: each tensor [steps, environments, ...] of a rollout, [rows, ...] of a batch."""

    observations: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    """Of the actions, when they were chosen."""
    advantages: torch.Tensor
    returns: torch.Tensor
    """What the values should have been."""


def collect(
    policy: Policy,
    environments: Any,
    begins: NDArray[Any],
    choose: Callable[[int, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor, NDArray[Any]]],
    steps: int,
    discount: float,
    trace: float,
    device: torch.device,
) -> tuple[Transitions, NDArray[Any]]:
    """A rollout, and the observations that it ends with.

    An episode that is cut off by its limit of steps is worth what its last state is; one that has come to its end is
    worth no more.

    Args:
        environments: gymnasium's vector of them, which begin anew at once.
        begins: their observations now [environments, numbers].
        choose: given the step's number, scores and log standard deviations: actions, their logarithmic probabilities,
            and the actions as the environments take them.
        discount, trace: gamma and lambda of the advantages.
    """
    seen, acted, logs, values, rewards, ended = [], [], [], [], [], []
    observations = begins
    for step in range(steps):
        inputs = _tensor(observations, device)
        scores, log_std, worth = policy(inputs)
        actions, log_probs, taken = choose(step, scores, log_std)
        observations, reward, terminated, truncated, infos = environments.step(taken)
        reward = np.array(reward, dtype=np.float64)
        cut = np.flatnonzero(truncated & ~terminated)
        if len(cut):
            last = np.stack([np.asarray(infos["final_obs"][index]) for index in cut])
            reward[cut] += discount * policy(_tensor(last, device))[2].double().cpu().numpy()
        seen.append(inputs)
        acted.append(actions)
        logs.append(log_probs)
        values.append(worth)
        rewards.append(torch.from_numpy(reward))
        ended.append(torch.from_numpy(terminated | truncated))
    worths = torch.stack([*values, policy(_tensor(observations, device))[2]]).double()
    better = advantages(torch.stack(rewards).to(device), worths, torch.stack(ended).to(device), discount, trace)
    rollout = Transitions(
        torch.stack(seen),
        torch.stack(acted),
        torch.stack(logs),
        better.float(),
        (better + worths[:-1]).float(),
    )
    return rollout, observations


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, ended: torch.Tensor, discount: float, trace: float
) -> torch.Tensor:
    """Generalized advantage estimates (arXiv 1506.02438, eq. 16) [steps, environments].

    Args:
        rewards: [steps, environments].
        values: [steps + 1, environments], the last those of the states after the last step.
        ended: [steps, environments], whether an episode ended with the step.
    """
    goes_on = 1.0 - ended.to(values.dtype)
    surprise = rewards + discount * goes_on * values[1:] - values[:-1]
    found, carried = torch.empty_like(surprise), torch.zeros_like(surprise[0])
    for step in reversed(range(len(surprise))):
        carried = surprise[step] + discount * trace * goes_on[step] * carried
        found[step] = carried
    return found


def _tensor(observations: NDArray[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.asarray(observations, dtype=np.float32)).to(device)
