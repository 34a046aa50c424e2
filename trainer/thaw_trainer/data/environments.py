"""Environments of gymnasium, as a manifest names them: gymnasium://CartPole-v1?gravity=20."""

import inspect
import json
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.errors import DATA_INVALID, DATA_NOT_FOUND, TrainerError

_STEPS = "max_episode_steps"
_DRAWN = 8
"""Numbers of an observation that are kept to be drawn."""


@dataclass(frozen=True)
class EnvironmentFacts:
    """What a policy has to know of an environment."""

    observation: int
    """Numbers of an observation, flattened."""
    actions: Literal["discrete", "continuous"]
    size: int
    """How many actions there are to choose from, or numbers of one action."""
    first: int = 0
    """The number of the first action."""
    low: tuple[float, ...] = ()
    """Smallest values of a continuous action."""
    high: tuple[float, ...] = ()

    @staticmethod
    def read(written: dict[str, Any]) -> "EnvironmentFacts":
        """The inverse of `as_dict`, through JSON."""
        return EnvironmentFacts(**(written | {name: tuple(written[name]) for name in ("low", "high")}))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Named:
    """An environment's id; what its maker is called with; and attributes that are set on what was made."""

    id: str
    arguments: dict[str, Any]
    attributes: dict[str, float]


def parse(uri: str, field: str) -> Named:
    """What a URI names. A change is an argument of the environment's class where it takes one of that name, otherwise a
    number among its attributes (gravity of CartPole).

    Args:
        field: path of the field that holds the URI, for errors.

    Raises:
        TrainerError: DataNotFound: no such environment; DataInvalid: no such argument or attribute.
    """
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    name, _, query = uri.partition(":")[2].removeprefix("//").partition("?")
    try:
        changes = {key: _value(text) for key, text in parse_qsl(query, strict_parsing=bool(query))}
        spec = gymnasium.spec(name)
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        known = inspect.signature(creator).parameters if creator else {}
        arguments = {key: value for key, value in changes.items() if key in known or key == _STEPS}
        plain = gymnasium.make(name, disable_env_checker=True, **arguments)
    except Exception as error:  # gymnasium's own errors, and of whatever module the environment is in
        message = f"no environment {name!r}{' as it is changed' if query else ''}: {type(error).__name__}: {error}"
        raise TrainerError(DATA_NOT_FOUND, message, field) from error
    attributes = {key: value for key, value in changes.items() if key not in arguments}
    with plain:
        for key, value in attributes.items():
            found = getattr(plain.unwrapped, key, None)
            if not _is_number(found) or not _is_number(value):
                takes = [*known, *(each for each, its in vars(plain.unwrapped).items() if _is_number(its))]
                raise TrainerError(
                    DATA_INVALID, f"{name} has no number {key!r} to change; it has {', '.join(sorted(takes))}", field
                )
        limit = arguments.get(_STEPS) or (plain.spec.max_episode_steps if plain.spec else None)
    if type(limit) is not int or limit < 1:
        message = f"episodes of {name} have no end: say ?{_STEPS}=1000"
        raise TrainerError(DATA_INVALID, message, field)
    return Named(name, arguments, attributes)


def _value(text: str) -> Any:
    """A number or true and false where the text is one, otherwise the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def make(named: Named) -> Any:
    """One environment, whose observations are vectors."""
    import gymnasium

    environment = gymnasium.make(named.id, disable_env_checker=True, **named.arguments)
    for key, value in named.attributes.items():
        setattr(environment.unwrapped, key, value)
    return gymnasium.wrappers.FlattenObservation(environment)


def make_vector(named: Named, count: int) -> Any:
    """Environments side by side. One that has ended begins anew at once; its last observation is in the infos."""
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    return SyncVectorEnv([partial(make, named)] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def facts_of(named: Named, field: str) -> EnvironmentFacts:
    """What a policy has to know.

    Raises:
        TrainerError: DataInvalid: actions that are neither one of a number nor a bounded vector.
    """
    from gymnasium.spaces import Box, Discrete

    try:
        with make(named) as environment:
            observations, actions = environment.observation_space, environment.action_space
            environment.reset(seed=0)
            environment.step(actions.sample())
    except Exception as error:  # of whatever code the environment is
        message = f"{named.id} cannot be played: {type(error).__name__}: {error}"
        raise TrainerError(DATA_INVALID, message, field) from error
    size = int(np.prod(observations.shape))
    if isinstance(actions, Discrete):
        return EnvironmentFacts(size, "discrete", int(actions.n), int(actions.start))
    if isinstance(actions, Box) and len(actions.shape) == 1 and actions.is_bounded():
        low, high = (tuple(map(float, each)) for each in (actions.low, actions.high))
        return EnvironmentFacts(size, "continuous", actions.shape[0], low=low, high=high)
    message = f"actions of {named.id} are {actions}: a policy has one of a number (Discrete), or a bounded vector (Box)"
    raise TrainerError(DATA_INVALID, message, field)


def seed_of(*parts: int) -> int:
    """A seed of its own for each list of numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def episode_returns(named: Named, seeds: list[int], act: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (the rewards' sum) and length of one episode for each seed, played side by side.

    Args:
        act: from observations [episodes, numbers] to actions.
    """
    returns, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=np.int64)
    running = np.ones(len(seeds), dtype=bool)
    with closing(make_vector(named, len(seeds))) as environments:
        observations, _ = environments.reset(seed=seeds)
        while running.any():
            observations, rewards, terminated, truncated, _ = environments.step(act(observations))
            returns += np.where(running, rewards, 0.0)
            lengths += running
            running &= ~(terminated | truncated)
    return returns, lengths


def first_episode(named: Named, seed: int, act: Any) -> dict[str, Any]:
    """One episode step by step, to be drawn: `observations` (the first of so many `numbers`), `actions` and `rewards`;
    see `episode_returns`."""
    told: dict[str, Any] = {"observations": [], "actions": [], "rewards": []}
    with make(named) as environment:
        observation, _ = environment.reset(seed=seed)
        over = False
        while not over:
            action = act(observation[None])[0]
            told["numbers"] = len(observation)
            told["observations"].append(np.asarray(observation[:_DRAWN], dtype=np.float64).tolist())
            observation, reward, terminated, truncated, _ = environment.step(action)
            told["actions"].append(np.asarray(action).tolist())
            told["rewards"].append(float(reward))
            over = terminated or truncated
    return told


def random_returns(named: Named, seeds: list[int]) -> NDArray[np.float64]:
    """Returns of episodes in which every action is drawn at random."""
    with make(named) as environment:
        space = environment.action_space
        space.seed(seeds[0])
        returns, _ = episode_returns(named, seeds, lambda seen: np.stack([space.sample() for _ in seen]))
    return returns
