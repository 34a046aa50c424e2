"""Causal language models in the loop: cached, in gangs, with accumulated parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.loop.gangs import Case, Worked, run_gang, train
from tests.unit.prefix.sites import HEAD, TOP, site
from tests.unit.tiny_causal import FEW_TOKENS, NO_DROPOUT, PACK, CausalJob
from tests.unit.tiny_jobs import Run, run
from thaw_trainer.fused.ahead import GroupMemory, GroupSite
from thaw_trainer.fused.kin import shares_steps
from thaw_trainer.loop.distributed import Gang


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CausalJob]:
    """Jobs that no test changes."""
    root = tmp_path_factory.mktemp("jobs")
    return {family: CausalJob(root / family, family=family) for family in ("gpt2", "llama")}


def trained(job: CausalJob, changes: dict[str, Any], cache: Path | None, name: str, **how: Any) -> Run:
    spec = job.spec(changes)
    folder = job.root / "checkpoints" / name
    shutil.rmtree(folder, ignore_errors=True)
    return run(job.task(spec), spec, folder, prefix=site(job, spec, cache) if cache else None, **how)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "changes",
    [HEAD, TOP, TOP | PACK, TOP | PACK | {"training.gradientAccumulation": 2}, TOP | FEW_TOKENS],
    ids=["head", "top", "packed", "packed-accumulated", "few-tokens"],
)
def test_a_cached_prefix_gives_the_same_bits(
    jobs: dict[str, CausalJob], tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    cached = trained(jobs[family], changes, tmp_path / "cache", "cached")
    computed = trained(jobs[family], changes, None, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[0]["prefix"]["blocks"] >= 1


def test_training_learns_what_word_follows(jobs: dict[str, CausalJob]) -> None:
    told = trained(jobs["gpt2"], {"training.epochs": 8}, None, "learns")
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"] - 0.2
    assert told.metrics[-1]["accuracy"] > told.metrics[0]["accuracy"]


SGD = {"training.optimizer": {"name": "sgd", "lr": 0.05}, "training.epochs": 2}


@pytest.fixture(scope="module")
def gang(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Case], dict[str, list[Worked]]]:
    """Trials, and what two workers make of them."""
    root = tmp_path_factory.mktemp("gang")
    job = CausalJob(root / "job", **NO_DROPOUT)
    changes = {"bucket": SGD, "packed": SGD | PACK, "accumulated": SGD | {"training.gradientAccumulation": 2}}
    cases = {name: Case(name, each, str(job.root), job=CausalJob) for name, each in changes.items()}
    for case in cases.values():
        job.store(job.spec(case.changes))
    return cases, run_gang(root / "two", list(cases.values()))


@pytest.mark.parametrize("name", ["bucket", "packed", "accumulated"])
def test_two_workers_and_accumulated_parts_train_as_one(
    gang: tuple[dict[str, Case], dict[str, list[Worked]]], tmp_path: Path, name: str
) -> None:
    cases, worked = gang
    plain = Case("plain", {**cases[name].changes, "training.gradientAccumulation": 1}, cases[name].root, job=CausalJob)
    one = train(plain, tmp_path / "one", Gang())
    for mine, theirs in zip(one.reports, worked[name][0].reports, strict=True):
        assert theirs["train_losses"] == pytest.approx(mine["train_losses"], abs=1e-5)
        assert theirs["metrics"] == pytest.approx(mine["metrics"], abs=1e-5)
    for first, second in zip(worked[name][0].snapshots, worked[name][1].snapshots, strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_heads_are_not_trained_together(jobs: dict[str, CausalJob], tmp_path: Path) -> None:
    job = jobs["gpt2"]
    searched = {
        "search": {
            "algorithm": {"name": "random"},
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-4, "max": 1e-2}}],
        }
    }
    assert not shares_steps(job.spec(HEAD | searched))
    memory = GroupMemory()
    companions = (job.spec(HEAD | {"training.optimizer": {"lr": 0.02}}).manifest(),)
    trained(job, HEAD, tmp_path / "cache", "group", group=GroupSite(memory, companions))
    assert not memory.places
