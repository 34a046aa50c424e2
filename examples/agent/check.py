"""Measures the example's policies without thaw: torch runs each in gymnasium, and its mean return over the test
episodes must be the one in result.json.

    python check.py out out-scratch
"""

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
import torch

from thaw_trainer.data.environments import seed_of

HERE = Path(__file__).parent
EPISODES = 50
SAME = 1e-9


def episode(policy: torch.nn.Module, seed: int) -> float:
    """The return of an episode in the job's environment."""
    environment = gymnasium.make("CartPole-v1")
    environment.unwrapped.force_mag = -10
    observation, _ = environment.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        action = int(policy(torch.from_numpy(observation)[None])[0])
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, over = total + float(reward), terminated or truncated
    return total


def mean_return(out: Path) -> float:
    """Over the test episodes, whose seeds the split's seed gives."""
    policy = torch.export.load(out / "model" / "policy.pt2").module()
    return float(np.mean([episode(policy, seed_of(0, 3, 2, number)) for number in range(EPISODES)]))


def main(outs: list[Path]) -> int:
    """Prints mean returns; the exit status is 1 if one is not what result.json says."""
    wrong = 0
    results = [json.loads((out / "result.json").read_text(encoding="utf-8")) for out in outs]
    print(f"{'at random':<16} {results[0]['baseline']['test']:7.1f}")
    pretrained = HERE / "out-pretrained"
    if (pretrained / "model").is_dir():
        print(f"{'not fine-tuned':<16} {mean_return(pretrained):7.1f}")
    for out, result in zip(outs, results, strict=True):
        measured, reported = mean_return(out), result["test"]["return"]
        same = abs(measured - reported) < SAME
        verdict = "as in result.json" if same else f"but result.json says {reported:.1f}"
        print(f"{out.name:<16} {measured:7.1f}  mean return of {EPISODES} test episodes, at most 500; {verdict}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
