"""Reinforcement learning: a policy acts in an environment of gymnasium and learns from its rewards (PPO).

Every number that is drawn is a function of the seed, the epoch, the rollout and the environment's number: what is
trained on depends neither on an interruption between two epochs nor, but for rounding, on how many workers share the
environments.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.agent_errors import agent_errors
from thaw_api.job import FineTuneJobSpec
from thaw_api.training import PpoSpec
from thaw_trainer.data import environments
from thaw_trainer.data.environments import EnvironmentFacts, Named, seed_of
from thaw_trainer.data.store import Made, PreparedStore, digest, file_digest, open_or_write
from thaw_trainer.errors import DATA_INVALID, TRIAL_SPEC_INVALID, TrainerError
from thaw_trainer.models import policy_files, pretrained
from thaw_trainer.models.policy import Policy, best_actions, bounded
from thaw_trainer.tasks.actions import divergence, draw, entropy, log_probability
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Peers, Predictions, Share
from thaw_trainer.tasks.rollouts import Transitions, collect

_LAYOUT = 1
"""Version of what is written; part of the store's key."""
_EPISODES, _RANDOM_EPISODES = 20, 100
_SIDE_BY_SIDE = 10
"""Episodes that are played at a time when the policy is measured."""
_BEGIN, _DRAW, _ORDER, _MEASURE = range(4)
"""Streams of seeds."""
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Episodes:
    """A batch of measuring: numbers of the episodes, and their seeds."""

    split: str
    id: NDArray[np.int64]
    seeds: list[int]


class ReinforcementLearning:
    """One trial's policy and environments."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        for error in agent_errors(spec, acts=True):  # a search may put numbers together that do not go together
            raise TrainerError(TRIAL_SPEC_INVALID, error.message, error.path)
        self.spec, self.store = spec, PreparedStore(folder)
        self.ppo = spec.training.ppo or PpoSpec()
        self.model_folder = Path(self.store.facts["modelFolder"])
        self.facts = EnvironmentFacts.read(self.store.facts["environment"])
        self.config = policy_files.read_config(self.model_folder, self.facts, spec.model.init)
        self._followed: tuple[nn.Module, Peers] | None = None

    def build(self) -> nn.Module:
        """See Task."""
        return policy_files.build(self.model_folder, self.config, self.spec.model)

    def follow(self, model: nn.Module, peers: Peers) -> None:
        """See Acts."""
        self._followed = (model, peers)

    def row_source(self) -> None:
        """See Task: what is observed depends on the policy, so no epoch goes over the rows of another."""
        return

    def steps_per_epoch(self) -> int:
        """See Task."""
        return self.ppo.rollouts * self.ppo.passes * (self.ppo.rollout_steps // self._of_each)

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[Any]:
        """See Task. Of `train`, the policy that was named last acts while they are asked for."""
        if split == "train":
            return self._training(epoch)
        return self._episodes(split, share)

    def step(self, model: nn.Module, batch: Transitions, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: PPO's loss (arXiv 1707.06347, eq. 7 and 9) over transitions."""
        ppo = self.ppo
        scores, log_std, values = model(batch.observations)
        ratio = (log_probability(scores, log_std, batch.actions) - batch.log_probs).exp()
        gains = torch.minimum(ratio * batch.advantages, ratio.clamp(1 - ppo.clip, 1 + ppo.clip) * batch.advantages)
        losses = ppo.value_weight * (values - batch.returns).square() - gains
        if ppo.entropy_weight:
            losses = losses - ppo.entropy_weight * entropy(scores, log_std)
        if ppo.pretrained_weight:
            with torch.no_grad():
                first, first_log_std, _ = self._pretrained.to(device)(batch.observations)
            losses = losses + ppo.pretrained_weight * divergence(first, first_log_std, scores, log_std)
        return losses.sum(), float(len(losses))

    def outputs(self, model: nn.Module, batch: Episodes, device: torch.device) -> Outputs:
        """See Task: return and length of each episode [rows], with the likeliest actions."""
        act = self._acting(model, device)
        returns, lengths = environments.episode_returns(self._named[batch.split], batch.seeds, act)
        return {"return": torch.from_numpy(returns), "length": torch.from_numpy(lengths)}

    def predictions(self, batch: Episodes, outputs: Outputs) -> Predictions:
        """See Task: columns id (the episode's number), return and length."""
        return {"id": batch.id, **{name: outputs[name].numpy() for name in ("return", "length")}}

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task: the mean over the episodes, and the worst of them."""
        return {"return": float(predictions["return"].mean()), "worstReturn": float(predictions["return"].min())}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task."""
        return {"meanLength": float(predictions["length"].mean())}

    def episode(self, model: nn.Module, device: torch.device) -> dict[str, Any]:
        """See ShowsEpisode."""
        first = next(self._episodes("test", Share()))
        with torch.inference_mode():
            return environments.first_episode(self._named["test"], first.seeds[0], self._acting(model, device))

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: a folder to go on from, and a program that torch runs by itself."""
        assert isinstance(model, Policy)
        policy_files.export(copy.deepcopy(model), folder, self.facts)

    def _acting(self, model: nn.Module, device: torch.device) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """From observations [rows, numbers] to the likeliest actions."""

        def act(observations: NDArray[Any]) -> NDArray[Any]:
            scores, _, _ = model(torch.from_numpy(observations.astype(np.float32)).to(device))
            return best_actions(scores, self.facts).cpu().numpy()

        return act

    @cached_property
    def _named(self) -> dict[str, Named]:
        """The environment of each split."""
        return named_environments(self.spec)

    @cached_property
    def _pretrained(self) -> Policy:
        """The policy before it was trained, its head as it was."""
        kept = self.spec.model.head.model_copy(update={"reset": None})
        with torch.random.fork_rng():
            policy = policy_files.build(
                self.model_folder, self.config, self.spec.model.model_copy(update={"head": kept})
            )
        return policy.requires_grad_(False).eval()

    @property
    def _of_each(self) -> int:
        """Transitions of an environment in each optimizer step."""
        return self.spec.training.batch_size // self.ppo.environments

    def _training(self, epoch: int) -> Iterator[Transitions]:
        assert self._followed is not None, "a policy has been named"
        model, peers = self._followed
        ppo, seed, device = self.ppo, self.spec.training.seed, peers.device
        groups = self._groups(peers.share)
        own = [number for group in groups for number in group]
        place = {number: index for index, number in enumerate(own)}
        with closing(environments.make_vector(self._named["train"], len(own))) as vector:
            observations, _ = vector.reset(seed=[seed_of(seed, _BEGIN, epoch, number) for number in own])
            for turn in range(ppo.rollouts):
                noise = self._noise(epoch, turn, own).to(device)
                was_training = model.training
                model.eval()  # an adapter's dropout would be noise in the actions' probabilities
                with torch.no_grad():
                    rollout, observations = collect(
                        model,
                        vector,
                        observations,
                        lambda step, scores, log_std: self._choose(noise[step], scores, log_std),  # noqa: B023
                        ppo.rollout_steps,
                        ppo.discount,
                        ppo.gae_lambda,
                        device,
                    )
                model.train(was_training)
                rollout = replace(rollout, advantages=_normalized(rollout.advantages, peers))
                for turn_pass in range(ppo.passes):
                    orders = {
                        number: np.random.default_rng((seed, _ORDER, epoch, turn, turn_pass, number)).permutation(
                            ppo.rollout_steps
                        )
                        for number in own
                    }
                    for first in range(0, ppo.rollout_steps, self._of_each):
                        for group in groups:
                            chosen = [
                                (place[number], orders[number][first : first + self._of_each]) for number in group
                            ]
                            yield _transitions(rollout, chosen)

    def _groups(self, share: Share) -> list[list[int]]:
        """Numbers of this worker's environments, for each accumulated part of a step."""
        accumulated = self.spec.training.gradient_accumulation
        parts = np.array_split(np.arange(self.ppo.environments), accumulated * share.world)
        return [parts[part * share.world + share.rank].tolist() for part in range(accumulated)]

    def _noise(self, epoch: int, turn: int, numbers: list[int]) -> torch.Tensor:
        """What each environment's actions are drawn with [steps, environments, ...]."""
        steps, continuous = self.ppo.rollout_steps, self.facts.actions == "continuous"
        drawn = []
        for number in numbers:
            random = np.random.default_rng((self.spec.training.seed, _DRAW, epoch, turn, number))
            drawn.append(random.standard_normal((steps, self.facts.size)) if continuous else random.random(steps))
        stacked = torch.from_numpy(np.stack(drawn, axis=1))
        return stacked.float() if continuous else stacked

    def _choose(
        self, noise: torch.Tensor, scores: torch.Tensor, log_std: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, NDArray[Any]]:
        actions = draw(scores, log_std, noise)
        taken = bounded(actions, self.facts) if self.facts.actions == "continuous" else actions + self.facts.first
        return actions, log_probability(scores, log_std, actions), taken.cpu().numpy()

    def _episodes(self, split: str, share: Share) -> Iterator[Episodes]:
        count = self.store.facts["counts"][split]
        numbers = np.arange(count)
        groups = np.array_split(numbers, -(-count // _SIDE_BY_SIDE))
        for group in groups[share.rank :: share.world]:
            stream = (self.spec.data.split.seed, _MEASURE, _SPLITS.index(split))
            yield Episodes(split, group, [seed_of(*stream, int(number)) for number in group])


def _normalized(advantages: torch.Tensor, peers: Peers) -> torch.Tensor:
    """With a mean of 0 and a standard deviation of 1 over all workers."""
    numbers = advantages.double()
    sums = torch.stack([numbers.sum(), numbers.square().sum(), torch.tensor(float(numbers.numel())).to(numbers)])
    peers.sum(sums)
    mean = sums[0] / sums[2]
    deviation = (sums[1] / sums[2] - mean.square()).clamp(min=0).sqrt()
    return ((numbers - mean) / (deviation + 1e-8)).float()


def _transitions(rollout: Transitions, chosen: list[tuple[int, NDArray[np.int64]]]) -> Transitions:
    """Some steps of each environment of a rollout."""
    columns = torch.from_numpy(np.concatenate([np.full(len(steps), place) for place, steps in chosen]))
    rows = torch.from_numpy(np.concatenate([steps for _, steps in chosen]))
    return Transitions(*(tensor[rows, columns] for tensor in vars(rollout).values()))


def named_environments(spec: FineTuneJobSpec) -> dict[str, Named]:
    """The environment of each split: that of train, where the spec names no other.

    Raises:
        TrainerError: DataNotFound or DataInvalid.
    """
    sources = {name: getattr(spec.data, name) or spec.data.train for name in _SPLITS}
    fields = {name: name if getattr(spec.data, name) else "train" for name in _SPLITS}
    return {name: environments.parse(source.uri, f"spec.data.{fields[name]}.uri") for name, source in sources.items()}


class ReinforcementLearningKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        import gymnasium

        folder = policy_files.policy_folder(spec.model, files.roots, files.stores / "models")
        named = named_environments(spec)
        facts = {name: environments.facts_of(each, f"spec.data.{name}.uri") for name, each in named.items()}
        policy_files.read_config(folder, facts["train"], spec.model.init)
        for name in _SPLITS[1:]:
            if facts[name] != facts["train"]:
                message = f"observations or actions are others than in train: {facts[name]}, and {facts['train']}"
                raise TrainerError(DATA_INVALID, message, f"spec.data.{name}.uri")
        model = {path.name: file_digest(path) for path in pretrained.model_files(folder)}
        key = digest(_LAYOUT, spec.task, spec.data.manifest(), spec.evaluation.episodes, gymnasium.__version__, model)

        def made(_: Path) -> Made:
            episodes = spec.evaluation.episodes or _EPISODES
            seeds = [seed_of(spec.data.split.seed, _MEASURE, len(_SPLITS), each) for each in range(_RANDOM_EPISODES)]
            chance = environments.random_returns(named["test"], seeds)
            return {
                "counts": {"validation": episodes, "test": episodes},
                "fingerprint": key,
                "environment": facts["train"].as_dict(),
                "testEnvironment": asdict(named["test"]),
                "baseline": {
                    "metric": "return",
                    "test": float(chance.mean()),
                    "description": f"actions at random ({_RANDOM_EPISODES} episodes)",
                },
            }, {}

        return open_or_write(files.stores, key, made).with_fact("modelFolder", str(folder)).folder

    def open(self, spec: FineTuneJobSpec, store: Path) -> ReinforcementLearning:
        """See TaskKind."""
        return ReinforcementLearning(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = ReinforcementLearning(spec, store)
        with torch.random.fork_rng():
            task.build()  # weights that cannot be read are refused now
        with torch.device("meta"):
            return Policy(task.config)


KIND = ReinforcementLearningKind()
