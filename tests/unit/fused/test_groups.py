"""Trials whose heads are trained together are the trials that are trained one by one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.unit.prefix.sites import HEAD, site
from tests.unit.tiny_jobs import Run, TinyJob, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.errors import LOSS_NOT_FINITE, TrainerError
from thaw_trainer.fused import group as groups
from thaw_trainer.fused.ahead import GroupMemory, GroupSite
from thaw_trainer.fused.heads import Heads
from thaw_trainer.fused.kin import kinship

RATES = (0.003, 0.01, 0.03)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT of 3 blocks, with dropout before its head."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of this module."""
    return tmp_path_factory.mktemp("cache")


def specs(tiny: TinyJob, **changes: Any) -> list[FineTuneJobSpec]:
    """Trials that differ in rate and weight decay."""
    return [
        tiny.spec(HEAD | {"training.optimizer": {"lr": lr, "weightDecay": decay}} | changes)
        for lr, decay in zip(RATES, (0.0, 0.1, 0.01), strict=True)
    ]


def head_phase(until: dict[str, Any], **own: Any) -> dict[str, Any]:
    return {"freezing": {"phases": [{"name": "head", "train": ["head"], "until": until, **own}]}}


def train(tiny: TinyJob, spec: FineTuneJobSpec, cache: Path, name: str, group: GroupSite | None, **how: Any) -> Run:
    shutil.rmtree(tiny.root / "checkpoints" / name, ignore_errors=True)
    folder = tiny.root / "checkpoints" / name
    return run(tiny.task(spec), spec, folder, prefix=site(tiny, spec, cache), group=group, **how)


def together(tiny: TinyJob, trials: list[FineTuneJobSpec], cache: Path, **how: Any) -> list[Run]:
    """One after another, as a gang takes them: the first one brings the others along."""
    memory = GroupMemory()
    companions = tuple(spec.manifest() for spec in trials[1:])
    return [
        train(tiny, spec, cache, f"together-{index}", GroupSite(memory, companions if index == 0 else ()), **how)
        for index, spec in enumerate(trials)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training.gradientAccumulation": 2},
        {"training.clipNorm": 0.05},
        {"training.clipNorm": 0.0},
        {"training.labelSmoothing": 0.1},
        {"training.optimizer.name": "sgd"},
        {"training.optimizer.name": "sgd", "training.optimizer.momentum": 0.0},
        head_phase({"fraction": 1.0}, warmup=5, schedule="cosine", weightDecay=0.3),
        {"model.adapter": {"method": "lora", "rank": 2}},
    ],
    ids=[
        "plain",
        "accumulated",
        "clipped",
        "unclipped",
        "smoothed",
        "sgd",
        "sgd-without-momentum",
        "own-settings",
        "beside-an-adapter",
    ],
)
def test_each_is_what_it_would_be_alone(
    tiny: TinyJob, cache: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = specs(tiny, **changes)
    alone = [train(tiny, spec, cache, f"alone-{index}", None) for index, spec in enumerate(trials)]
    fused = together(tiny, trials, cache)
    for index, (one, other) in enumerate(zip(alone, fused, strict=True)):
        assert torch.tensor(one.losses).sub(torch.tensor(other.losses)).abs().max() < 1e-5
        for mine, theirs in zip(one.metrics, other.metrics, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5)
        for file in ("weights", "optimizer"):
            wanted, found = (
                load_file(tiny.root / "checkpoints" / f"{name}-{index}" / "epoch-0004" / f"{file}.safetensors")
                for name in ("alone", "together")
            )
            assert wanted.keys() == found.keys()
            assert all(torch.allclose(wanted[name], found[name], atol=1e-5, rtol=0) for name in wanted)


def test_heads_whose_phase_ends_in_mid_epoch_are_trained_one_by_one(tiny: TinyJob, cache: Path) -> None:
    trials = specs(tiny, **head_phase({"steps": tiny.task(tiny.spec()).steps_per_epoch() + 2}))
    alone = [train(tiny, spec, cache, f"alone-{index}", None) for index, spec in enumerate(trials)]
    fused = together(tiny, trials, cache)
    assert [(each.losses, each.metrics) for each in fused] == [(each.losses, each.metrics) for each in alone]
    assert [len(losses) for losses in alone[0].losses][1:] == [2]


@pytest.mark.parametrize(("schedule", "others"), [(HEAD, 2), ({"freezing": {"preset": "last-n", "depth": 1}}, 0)])
def test_heads_share_steps_where_every_adapter_stays_frozen(
    tiny: TinyJob, cache: Path, schedule: dict[str, Any], others: int
) -> None:
    trials, memory = specs(tiny, **schedule, **{"model.adapter": {"method": "dora", "rank": 2}}), GroupMemory()
    train(tiny, trials[0], cache, "adapter", GroupSite(memory, tuple(spec.manifest() for spec in trials[1:])))
    assert len(memory.places) == others


def test_a_step_computes_what_they_share_once(tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    step = groups.Group._step

    def counted(self: groups.Group, parts: list[Any]) -> torch.Tensor:
        losses = step(self, parts)
        trained.append(len(losses))
        return losses

    monkeypatch.setattr(groups.Group, "_step", counted)
    runs = together(tiny, specs(tiny), cache)
    assert [run.state for run in runs] == ["succeeded"] * 3
    assert trained == [3] * len([loss for epoch in runs[0].losses for loss in epoch])


def test_an_epoch_is_trained_when_it_is_asked_for(tiny: TinyJob, cache: Path) -> None:
    trials = specs(tiny)
    fused = together(tiny, trials, cache, answer=lambda report: report["epoch"] < 2)
    assert [len(run.reports) for run in fused] == [2, 2, 2]


def test_a_loss_that_is_not_finite_is_that_trials_end_only(
    tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SecondIsBroken(Heads):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            next(iter(self.stacked.values())).data[1].fill_(float("inf"))

    monkeypatch.setattr(groups, "Heads", SecondIsBroken)
    trials, memory = specs(tiny), GroupMemory()
    alone = [train(tiny, spec, cache, f"alone-{index}", None) for index, spec in enumerate(trials)]
    companions = tuple(spec.manifest() for spec in trials[1:])
    first = train(tiny, trials[0], cache, "first", GroupSite(memory, companions))
    with pytest.raises(TrainerError, match="the loss became nan in step 1 of epoch 1") as caught:
        train(tiny, trials[1], cache, "second", GroupSite(memory, ()))
    assert caught.value.reason == LOSS_NOT_FINITE
    third = train(tiny, trials[2], cache, "third", GroupSite(memory, ()))
    for one, other in ((alone[0], first), (alone[2], third)):
        assert torch.tensor(one.losses).sub(torch.tensor(other.losses)).abs().max() < 1e-5


def test_trials_of_the_same_values_are_each_trained(tiny: TinyJob, cache: Path) -> None:
    first, second = specs(tiny)[:2]
    fused = together(tiny, [first, second, first, second], cache)
    assert [run.state for run in fused] == ["succeeded"] * 4
    for one, other in ((fused[0], fused[2]), (fused[1], fused[3])):
        assert torch.tensor(one.losses).sub(torch.tensor(other.losses)).abs().max() < 1e-5


def test_trials_that_differ_in_more_are_trained_alone(tiny: TinyJob, cache: Path) -> None:
    memory = GroupMemory()
    other = tiny.spec(HEAD | {"training.seed": 1})
    train(tiny, tiny.spec(HEAD), cache, "one", GroupSite(memory, (other.manifest(),)))
    assert memory.places == {}


def test_a_model_that_vmap_cannot_do_is_trained_alone(
    tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(Heads, "losses", refuse)
    trials = specs(tiny)
    alone = train(tiny, trials[0], cache, "alone", None)
    assert together(tiny, trials, cache)[0].losses == alone.losses


@given(changes=st.dictionaries(st.sampled_from(["lr", "weightDecay", "eps"]), st.floats(1e-6, 1e-3), max_size=3))
def test_kinship_looks_past_each_trials_own_optimizer(tiny: TinyJob, changes: dict[str, float]) -> None:
    assert kinship(tiny.spec({"training.optimizer": changes})) == kinship(tiny.spec())


@pytest.mark.parametrize(
    "changes",
    [
        {"training.batchSize": 16},
        {"training.epochs": 3},
        {"training.seed": 3},
        {"training.labelSmoothing": 0.1},
        {"training.optimizer": {"name": "sgd"}},
        {"freezing": {"preset": "last-n", "depth": 1}},
        {"model.head": {"dropout": 0.3}},
        {"model.adapter": {"method": "lora"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_else_parts_them(tiny: TinyJob, changes: dict[str, Any]) -> None:
    assert kinship(tiny.spec(changes)) != kinship(tiny.spec())
