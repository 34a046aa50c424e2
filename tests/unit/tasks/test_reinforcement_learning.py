"""Agents: numbers are compared with Stable-Baselines3, torch.distributions and sums written out."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import A2C, DQN, PPO
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from tests.manifests import job
from tests.unit.outputs.summaries import summary
from tests.unit.outputs.test_model_card import code
from tests.unit.predicting import by_workers
from tests.unit.tiny_jobs import Killed, Run, die_after, run
from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_spec
from thaw_trainer.data import environments
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import predict_split
from thaw_trainer.models.policy import Policy, PolicyConfig
from thaw_trainer.outputs.episode_plot import episode_plot
from thaw_trainer.outputs.model_card import card_of
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks import actions
from thaw_trainer.tasks.protocol import JobFiles, Share
from thaw_trainer.tasks.reinforcement_learning import KIND, ReinforcementLearning
from thaw_trainer.tasks.rollouts import advantages
from thaw_trainer.uris import UriRoots

CPU = torch.device("cpu")
SHAPE = {"model_type": "policy", "policy": [16, 16], "value": [16, 16]}
CARTPOLE, PENDULUM = "gymnasium://CartPole-v1", "gymnasium://Pendulum-v1?max_episode_steps=40"


class Agent:
    """A folder with a policy without weights, and trials of it."""

    def __init__(self, root: Path, environment: str = CARTPOLE) -> None:
        self.root, self.environment = root, environment
        (root / "model").mkdir(parents=True)
        (root / "model" / "config.json").write_text(json.dumps(SHAPE), encoding="utf-8")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """Small rollouts of four environments."""
        own = {
            "task": "reinforcement-learning",
            "model": {"uri": "file:model", "init": "random"},
            "data.train.uri": self.environment,
            "training": {"epochs": 2, "batchSize": 64, "optimizer": {"lr": 0.003}},
            "training.ppo": {"environments": 4, "rolloutSteps": 64, "rollouts": 2, "passes": 3},
            "evaluation.episodes": 6,
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> ReinforcementLearning:
        spec = self.spec(changes)
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_an_agent_learns_to_balance(agent: Agent) -> None:
    learns = {"training.epochs": 4, "training.ppo": {"environments": 8, "rolloutSteps": 128, "rollouts": 4}}
    told = agent.run(learns | {"training.schedule": {"name": "constant"}})
    chance = agent.task().store.facts["baseline"]["test"]
    assert chance < 40
    assert max(each["return"] for each in told.metrics) > 4 * chance


def test_an_agent_of_continuous_actions_trains(tmp_path: Path) -> None:
    agent = Agent(tmp_path, PENDULUM)
    task = agent.task()
    assert task.facts == environments.EnvironmentFacts(3, "continuous", 1, low=(-2.0,), high=(2.0,))
    told = agent.run()
    assert np.isfinite(told.losses).all()
    assert told.metrics[0] != told.metrics[1]


def test_the_same_seed_gives_the_same_curve_and_another_one_another(agent: Agent) -> None:
    first, again = agent.run(folder="first"), agent.run(folder="again")
    assert first.losses == again.losses
    assert first.metrics == again.metrics
    assert agent.run({"training.seed": 1}, folder="other").losses != first.losses


def test_a_trial_that_was_killed_goes_on_as_if_nothing_had_happened(agent: Agent) -> None:
    whole = agent.run({"training.epochs": 3}, "whole")
    with pytest.raises(Killed):
        agent.run({"training.epochs": 3}, "killed", answer=die_after(2))
    rest = agent.run({"training.epochs": 3}, "killed", reported=2)
    assert rest.losses == whole.losses[2:]
    assert rest.metrics == whole.metrics[2:]


class Pair:
    """Two workers one after another, whose sums are those of what both have said."""

    def __init__(self, rank: int, sums: list[torch.Tensor]) -> None:
        self.share, self.device, self.sums = Share(rank, 2), CPU, sums

    def sum(self, tensor: torch.Tensor) -> None:
        tensor.copy_(self.sums.pop(0))


def test_workers_share_what_one_worker_trains_on(agent: Agent) -> None:
    """Given the sums over both, each has its half of every step's transitions."""
    task = agent.task()
    model = task.build().eval()
    told: list[torch.Tensor] = []

    class Alone(Gang):
        def sum(self, tensor: torch.Tensor) -> None:
            told.append(tensor.clone())

    task.follow(model, Alone())
    whole = list(task.batches("train", 0, Share()))
    halves = []
    for rank in range(2):
        task.follow(model, Pair(rank, list(told)))
        halves.append(list(task.batches("train", 0, Share(rank, 2))))
    assert len(whole) == len(halves[0]) == len(halves[1]) == task.steps_per_epoch() == 24
    for one, *two in zip(whole, *halves, strict=True):
        for name in ("observations", "actions", "advantages", "returns", "log_probs"):
            torch.testing.assert_close(getattr(one, name), torch.cat([getattr(half, name) for half in two]))


def test_accumulated_parts_are_the_whole_step(agent: Agent) -> None:
    task, parts = agent.task(), agent.task({"training.gradientAccumulation": 2})
    model = task.build().eval()
    for each in (task, parts):
        each.follow(model, Gang())
    whole, halves = (list(each.batches("train", 0, Share())) for each in (task, parts))
    for index, one in enumerate(whole):
        two = halves[2 * index : 2 * index + 2]
        torch.testing.assert_close(one.observations, torch.cat([half.observations for half in two]))


def test_every_transition_is_in_each_pass_once(agent: Agent) -> None:
    task = agent.task()
    task.follow(task.build().eval(), Gang())
    steps = [batch.observations for batch in task.batches("train", 0, Share())]
    passes = [torch.cat(steps[first : first + 4]) for first in range(0, len(steps), 4)]
    rollouts = [{tuple(row) for row in each.tolist()} for each in passes]
    assert len(rollouts) == 6
    assert [len(each) for each in rollouts] == [4 * 64] * 6
    assert rollouts[0] == rollouts[1] == rollouts[2] != rollouts[3]


def test_the_policy_of_the_moment_acts(agent: Agent) -> None:
    task = agent.task()
    model: Any = task.build().eval()
    task.follow(model, Gang())
    batches = task.batches("train", 0, Share())
    first = [next(batches) for _ in range(12)]
    with torch.no_grad():
        model.head.actions.bias.copy_(torch.tensor([30.0, -30.0]))
    second = [next(batches) for _ in range(12)]
    assert {0, 1} == set(torch.cat([batch.actions for batch in first]).tolist())
    assert {0} == set(torch.cat([batch.actions for batch in second]).tolist())


def test_the_loss_is_that_of_stable_baselines3(tmp_path: Path) -> None:
    """One minibatch; its own code inside `train`, written out (it gives no function for it)."""
    agent = Agent(tmp_path)
    weights = {"valueWeight": 0.7, "entropyWeight": 0.02, "clip": 0.1}
    task = agent.task({"training.ppo": {"environments": 4, "rolloutSteps": 64, **weights}})
    model = task.build().eval()
    task.follow(model, Gang())
    batch = next(iter(task.batches("train", 0, Share())))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)))
    loss, count = task.step(model, batch, CPU)
    scores, _, values = model(batch.observations)
    distribution: Any = Categorical(logits=scores)
    ratio = torch.exp(distribution.log_prob(batch.actions) - batch.log_probs)
    assert ((ratio - 1).abs() > 0.1).any()
    policy_loss = -torch.min(batch.advantages * ratio, batch.advantages * torch.clamp(ratio, 0.9, 1.1)).mean()
    value_loss = torch.nn.functional.mse_loss(batch.returns, values)
    wanted = policy_loss + 0.02 * -distribution.entropy().mean() + 0.7 * value_loss
    assert float(loss.detach()) / count == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert count == 64


def test_the_pretrained_policy_holds_the_new_one_back(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    torch.manual_seed(0)
    agent.task().export(agent.task().build(), tmp_path / "pretrained")
    own = {"model": {"uri": "file:pretrained", "head": {"reset": "all"}}}
    ppo = {"environments": 4, "rolloutSteps": 64}
    free, held = (agent.task(own | {"training.ppo": ppo | {"pretrainedWeight": weight}}) for weight in (0.0, 2.0))
    model: Any = free.build().eval()
    with torch.no_grad():
        model.head.actions.weight.mul_(300)
    free.follow(model, Gang())
    batch = next(iter(free.batches("train", 0, Share())))
    losses = [float(task.step(model, batch, CPU)[0].detach()) for task in (free, held)]
    pretrained = KIND.open(agent.spec({"model": {"uri": "file:pretrained"}}), held.store.folder).build()
    first, other = (Categorical(logits=each(batch.observations)[0]) for each in (pretrained, model))
    assert losses[1] - losses[0] == pytest.approx(float(2 * kl_divergence(first, other).sum()), abs=2e-3)
    assert losses[1] > losses[0] + 1


numbers = st.floats(-5, 5, allow_nan=False, width=32)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 4))


@given(shapes, st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31))
def test_advantages_are_sums_of_discounted_surprises(
    shape: tuple[int, int], discount: float, trace: float, seed: int
) -> None:
    steps, count = shape
    random = np.random.default_rng(seed)
    rewards, values = random.normal(size=shape), random.normal(size=(steps + 1, count))
    ended = random.random(shape) < 0.3
    found = advantages(torch.tensor(rewards), torch.tensor(values), torch.tensor(ended), discount, trace)
    for row in range(count):
        for step in range(steps):
            total, weight = 0.0, 1.0
            for later in range(step, steps):
                over = ended[later, row]
                following = 0.0 if over else values[later + 1, row]
                total += weight * (rewards[later, row] + discount * following - values[later, row])
                weight *= discount * trace
                if over:
                    break
            assert float(found[step, row]) == pytest.approx(total, abs=1e-9)


class Counting(gymnasium.Env[Any, Any]):
    """Observes its own step; an episode ends by itself or by its limit; each step gives 1."""

    observation_space = gymnasium.spaces.Box(0, 1000, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=5)

    def __init__(self, ends: int = 1000) -> None:
        self.ends, self.now = ends, 0

    def reset(self, **how: Any) -> Any:
        super().reset(**how)
        self.now = 0
        return np.asarray([0.0], np.float32), {}

    def step(self, action: Any) -> Any:
        assert action in (5, 6)
        self.now += 1
        return np.asarray([float(self.now)], np.float32), 1.0, self.now >= self.ends, False, {}


@pytest.fixture(scope="module", autouse=True)
def counting() -> None:
    gymnasium.register("Counting-v0", entry_point=f"{__name__}:Counting", max_episode_steps=4)
    gymnasium.register("Endless-v0", entry_point=f"{__name__}:Counting")


@pytest.mark.parametrize(("uri", "cut"), [("gymnasium://Counting-v0", True), ("gymnasium://Counting-v0?ends=4", False)])
def test_an_episode_that_is_cut_off_is_worth_what_would_have_followed(tmp_path: Path, uri: str, cut: bool) -> None:
    agent = Agent(tmp_path, uri)
    task = agent.task({"training.ppo": {"environments": 4, "rolloutSteps": 16, "discount": 0.5, "gaeLambda": 0.0}})
    model: Any = task.build().eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.zero_()
        model.head.values.bias.fill_(8.0)  # each state is worth 8
    task.follow(model, Gang())
    batch = next(iter(task.batches("train", 0, Share())))
    last = batch.observations[:, 0] == 3
    assert last.any()
    assert not (batch.observations == 4).any(), "the state after the limit is no beginning of a step"
    assert (batch.returns[~last] == 1 + 0.5 * 8).all()
    assert (batch.returns[last] == (1 + 0.5 * 8 if cut else 1)).all()


def test_the_first_action_may_have_another_number(tmp_path: Path) -> None:
    agent = Agent(tmp_path, "gymnasium://Counting-v0")
    task = agent.task()
    assert task.facts == environments.EnvironmentFacts(1, "discrete", 2, first=5)
    found = predict_split(task.build(), task, "test", Gang(), task.spec.training)
    assert found is not None
    assert found["return"].tolist() == [4.0] * 6


batches = st.integers(1, 5)


@settings(deadline=None)
@given(batches, st.integers(1, 4), st.booleans(), st.integers(0, 2**31))
def test_distributions_are_those_of_torch(rows: int, size: int, continuous: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores, others = torch.randn(2, rows, size, generator=generator)
    spread, other_spread = torch.randn(2, rows, size if continuous else 0, generator=generator)
    first: Any
    other: Any
    if continuous:
        first, other = (
            Independent(Normal(mean, log_std.exp()), 1) for mean, log_std in ((scores, spread), (others, other_spread))
        )
        chosen = torch.randn(rows, size, generator=generator)
    else:
        first, other = Categorical(logits=scores), Categorical(logits=others)
        chosen = torch.randint(size, (rows,), generator=generator)
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(actions.log_probability(scores, spread, chosen), first.log_prob(chosen), **close)
    torch.testing.assert_close(actions.entropy(scores, spread), first.entropy(), **close)
    found = actions.divergence(scores, spread, others, other_spread)
    torch.testing.assert_close(found, kl_divergence(first, other), **close)


def test_actions_are_drawn_as_often_as_the_policy_says() -> None:
    scores = torch.tensor([[0.0, 1.0, -2.0]]).expand(20_000, -1)
    noise = torch.from_numpy(np.random.default_rng(0).random(20_000))
    drawn = actions.draw(scores, torch.empty(20_000, 0), noise)
    shares = drawn.bincount(minlength=3) / len(drawn)
    torch.testing.assert_close(shares, scores[0].softmax(dim=-1), atol=0.01, rtol=0)
    assert actions.draw(scores[:1], torch.empty(1, 0), torch.tensor([1 - 1e-17])).tolist() == [2]


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("uri", [CARTPOLE, PENDULUM])
@pytest.mark.parametrize("activation", [None, torch.nn.ReLU])
def test_a_policy_of_stable_baselines3_acts_as_it_does_there(
    tmp_path: Path, algorithm: Any, uri: str, activation: Any
) -> None:
    agent = Agent(tmp_path, uri)
    environment = gymnasium.make(uri.removeprefix("gymnasium://").partition("?")[0])
    own = {"policy_kwargs": {"activation_fn": activation, "net_arch": {"pi": [24, 8], "vf": [16, 16]}}}
    theirs = algorithm("MlpPolicy", environment, seed=0, device="cpu", **(own if activation else {}))
    theirs.save(tmp_path / "theirs.zip")
    task = agent.task({"model": {"uri": "file:theirs.zip"}})
    ours = task.build()
    observations = np.stack([environment.observation_space.sample() for _ in range(50)]).clip(-5, 5)
    chosen, _ = theirs.predict(observations, deterministic=True)
    scores, _, values = ours(torch.from_numpy(observations))
    tensors, _ = theirs.policy.obs_to_tensor(observations)
    torch.testing.assert_close(values, theirs.policy.predict_values(tensors).squeeze(-1))
    from thaw_trainer.models.policy import best_actions

    np.testing.assert_allclose(best_actions(scores, task.facts).detach().numpy(), chosen, rtol=1e-5)
    assert find_layout(ours).blocks == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: file.write_bytes(b"nothing"), "is no archive of Stable-Baselines3"),
        (lambda file: DQN("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu").save(file), "no policy of plain"),
    ],
)
def test_an_archive_of_another_kind_is_refused(tmp_path: Path, make: Any, says: str) -> None:
    agent = Agent(tmp_path)
    make(tmp_path / "other.zip")
    with pytest.raises(TrainerError, match=says) as refused:
        agent.task({"model": {"uri": "file:other.zip"}})
    assert refused.value.field == "spec.model.uri"


def test_what_is_pickled_in_an_archive_is_not_run(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    agent = Agent(tmp_path)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("policy.pth", pickle.dumps(Evil()))
        archive.writestr("data", "{}")
    with pytest.raises(TrainerError, match="is no archive"):
        agent.task({"model": {"uri": "file:evil.zip"}})
    assert not (tmp_path / "ran").exists()


def test_blocks_are_layers_of_both_sides_and_the_head_has_the_rest() -> None:
    layout = find_layout(Policy(PolicyConfig(4, "continuous", 2, (8, 8, 8), (8, 8, 8))))
    assert layout.blocks == 3
    assert {layout.place[f"body.{side}.1.linear.weight"] for side in ("policy", "value")} == {1}
    head = {"head.actions.weight", "head.values.bias", "head.log_std"}
    assert {layout.place[name] for name in head} == {3}
    assert not layout.names(-1, -1)


def test_a_frozen_trunk_stays_and_the_head_learns(agent: Agent) -> None:
    exported = agent.root / "pretrained"
    task = agent.task()
    task.export(task.build(), exported)
    changes = {"model": {"uri": "file:pretrained"}, "freezing": {"preset": "head-only"}}
    own = agent.task(changes)
    built: list[Any] = []
    plain_build = own.build
    own.build = lambda: built.append(plain_build()) or built[-1]  # type: ignore[method-assign, func-returns-value]
    before = plain_build().state_dict()
    run(own, agent.spec(changes), agent.root / "checkpoints" / "head")
    after = built[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.actions.weight", "head.actions.bias", "head.values.weight", "head.values.bias"}


def test_a_search_over_policies_gives_each_trial_its_own(agent: Agent) -> None:
    task = agent.task()
    task.export(task.build(), agent.root / "pretrained")
    choice = {"path": "model.uri", "choice": {"values": ["file:pretrained", "file:other"]}}
    task.export(agent.task({"training.seed": 3}).build(), agent.root / "other")
    spec = agent.spec({"model": {"uri": "file:pretrained"}, "search.parameters": [choice]})
    prepared = prepare_job(spec, KIND, agent.files)
    folders = [
        KIND.open(trial, prepared.store_of(trial)).model_folder.name
        for trial in (trial_spec(spec, {"model.uri": uri}) for uri in choice["choice"]["values"])  # type: ignore[index]
    ]
    assert folders == ["pretrained", "other"]


def test_weights_in_bfloat16_train(agent: Agent) -> None:
    assert np.isfinite(agent.run({"model.dtype": "bfloat16", "training.epochs": 1}).losses).all()


@pytest.mark.parametrize(("reset", "moved"), [("values", {"values"}), ("all", {"values", "actions"})])
def test_the_head_is_made_anew_where_the_manifest_says_so(agent: Agent, reset: str, moved: set[str]) -> None:
    task = agent.task()
    torch.manual_seed(1)
    first = task.build()
    task.export(first, agent.root / "pretrained")
    torch.manual_seed(2)
    again = agent.task({"model": {"uri": "file:pretrained", "head": {"reset": reset}}}).build()
    found = {
        name.split(".")[1]
        for name, tensor in again.state_dict().items()
        if not torch.equal(tensor, first.state_dict()[name])
    }
    assert found == moved


def test_the_exported_program_acts_as_the_policy(tmp_path: Path) -> None:
    for uri in (CARTPOLE, PENDULUM):
        agent = Agent(tmp_path / uri.partition("//")[2].partition("-")[0], uri)
        task = agent.task()
        model = task.build()
        task.export(model, agent.root / "exported")
        program = torch.export.load(agent.root / "exported" / "policy.pt2").module()
        observations = 3 * torch.randn(33, task.facts.observation, generator=torch.Generator().manual_seed(0))
        from thaw_trainer.models.policy import best_actions

        torch.testing.assert_close(program(observations), best_actions(model(observations)[0], task.facts))
        assert len(program(observations[:1])) == 1


def test_the_code_of_a_card_plays_an_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = Agent(tmp_path, "gymnasium://CartPole-v1?gravity=25.5&max_episode_steps=60")
    task = agent.task()
    model = task.build()
    task.export(model, tmp_path / "exported")
    monkeypatch.chdir(tmp_path / "exported")
    data = {"train": {"uri": agent.environment}}
    card = card_of(summary(changes={"task": task.spec.task, "data": data}, facts=task.store.facts))
    exec(compile(code(card, "python"), "card", "exec"), {})  # noqa: S102

    def act(observations: Any) -> Any:
        return model(torch.from_numpy(observations))[0].argmax(dim=-1).numpy()

    returns, _ = environments.episode_returns(environments.parse(agent.environment, ""), [0], act)
    assert float(capsys.readouterr().out) == returns[0]


def test_an_episode_is_shown_step_by_step(agent: Agent) -> None:
    task = agent.task()
    model = task.build().eval()
    told = task.episode(model, CPU)
    found = predict_split(model, task, "test", Gang(), task.spec.training)
    assert found is not None
    assert sum(told["rewards"]) == found["return"][0]
    assert len(told["observations"]) == len(told["actions"]) == found["length"][0]
    plot = episode_plot(told)
    assert plot is not None
    assert "<svg" in plot.svg
    assert episode_plot({"observations": [], "actions": [], "rewards": []}) is None


def test_measuring_depends_neither_on_workers_nor_on_training(agent: Agent) -> None:
    task = agent.task()
    model = task.build().eval()
    by_world = [by_workers(task, model, "test", world) for world in (1, 2)]
    assert by_world[0]["id"].tolist() == list(range(6))
    assert by_world[0]["return"].tolist() == by_world[1]["return"].tolist()
    validation = predict_split(model, task, "validation", Gang(), task.spec.training)
    assert validation is not None
    assert validation["return"].tolist() != by_world[0]["return"].tolist()
    metrics = task.metrics(by_world[0], full=True)
    assert metrics == {"return": np.mean(by_world[0]["return"]), "worstReturn": min(by_world[0]["return"])}


def test_changes_of_an_environment_are_made(tmp_path: Path) -> None:
    named = environments.parse("gymnasium://CartPole-v1?gravity=20&force_mag=5&max_episode_steps=30", "here")
    with environments.make(named) as environment:
        assert (environment.unwrapped.gravity, environment.unwrapped.force_mag) == (20, 5)
        assert environment.spec.max_episode_steps == 30
    named = environments.parse("gymnasium://Pendulum-v1?g=3.5", "here")
    assert named.arguments == {"g": 3.5}


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("gymnasium://NoSuch-v1", "no environment 'NoSuch-v1'"),
        ("gymnasium://no_such_module:Thing-v0", "no environment"),
        ("gymnasium://CartPole-v1?gravty=20", "no number 'gravty' to change; it has .*gravity"),
        ("gymnasium://CartPole-v1?gravity=high", "no number 'gravity' to change"),
        ("gymnasium://CartPole-v1?gravity", "no environment"),
        ("gymnasium://CartPole-v1?max_episode_steps=-1", "have no end|no environment"),
        ("gymnasium://CartPole-v1?max_episode_steps=0", "have no end|no environment"),
        ("gymnasium://FrozenLake-v1?map_name=9x9", "no environment 'FrozenLake-v1' as it is changed"),
        ("gymnasium://Pendulum-v1?g=abc", "Pendulum-v1 cannot be played"),
        ("gymnasium://Endless-v0", "have no end: say [?]max_episode_steps=1000"),
    ],
)
def test_an_environment_that_is_none_is_named(agent: Agent, uri: str, says: str) -> None:
    agent.environment = uri
    with pytest.raises(TrainerError, match=says) as refused:
        agent.task()
    assert refused.value.field == "spec.data.train.uri"


def test_a_policy_that_does_not_fit_its_environment_is_refused(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    task = agent.task()
    task.export(task.build(), tmp_path / "pretrained")
    agent.environment = PENDULUM
    with pytest.raises(TrainerError, match="observes 4 numbers, the environment gives 3") as refused:
        agent.task({"model": {"uri": "file:pretrained"}})
    assert refused.value.field == "spec.model.uri"
    agent.environment = "gymnasium://Acrobot-v1"
    with pytest.raises(TrainerError, match="observes 4 numbers, the environment gives 6"):
        agent.task({"model": {"uri": "file:pretrained"}})


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"model_type": "bert"}, "is not 'policy'"),
        ({"policy": []}, "lists of layers' sizes"),
        ({"activation": "sine"}, "activation is one of tanh"),
        ({"depth": 3}, "depth"),
    ],
)
def test_a_folder_that_describes_no_policy_is_refused(agent: Agent, written: dict[str, Any], says: str) -> None:
    (agent.root / "model" / "config.json").write_text(json.dumps(SHAPE | written), encoding="utf-8")
    with pytest.raises(TrainerError, match=says) as refused:
        agent.task()
    assert refused.value.field == "spec.model.uri"


def test_numbers_that_a_search_puts_together_and_that_do_not_go_together_are_named(agent: Agent) -> None:
    spec = agent.spec()
    folder = KIND.prepare(spec, agent.files)
    odd = spec.model_copy(update={"training": spec.training.model_copy(update={"batch_size": 20})})
    with pytest.raises(TrainerError, match="64 are not divided evenly by 5") as refused:
        KIND.open(odd, folder)
    assert refused.value.field == "spec.training.ppo.rolloutSteps"


def test_a_test_environment_of_another_kind_is_named(agent: Agent) -> None:
    with pytest.raises(TrainerError, match="others than in train") as refused:
        agent.task({"data.test": {"uri": "gymnasium://Acrobot-v1"}})
    assert refused.value.field == "spec.data.test.uri"


def test_weights_that_are_cut_short_are_refused_before_training(agent: Agent) -> None:
    task = agent.task()
    task.export(task.build(), agent.root / "pretrained")
    weights = agent.root / "pretrained" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    spec = agent.spec({"model": {"uri": "file:pretrained"}})
    with pytest.raises(TrainerError, match="no readable weights"):
        prepare_job(spec, KIND, agent.files)


def test_a_cache_that_must_be_used_is_refused_with_its_reason(agent: Agent) -> None:
    freezing = {"preset": "head-only", "cache": {"mode": "always"}}
    told = agent.run({"freezing": freezing})
    assert told.state == "succeeded"
