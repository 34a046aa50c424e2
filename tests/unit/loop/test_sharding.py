"""A gang whose workers divide the model trains what one does whose workers each have all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.unit import tiny_causal
from tests.unit.loop.gangs import WORKERS, Case, Worked, run_gang
from tests.unit.loop.test_adapter_trial import DORA, LORA
from tests.unit.loop.test_adaptive_trial import adapting
from tests.unit.loop.test_stages import MID_EPOCH, rotating
from tests.unit.tiny_causal import PACK, CausalJob
from tests.unit.tiny_jobs import GRADUAL, NO_DROPOUT, TinyJob
from thaw_trainer.tasks.protocol import Share

ADAMW = {"training.optimizer": {"lr": 0.01, "eps": 1e-4}}
"""With the usual eps, a gradient that is zero but for rounding (of a key's bias) moves its tensor by the full rate."""
SGD = {"training.optimizer": {"name": "sgd", "lr": 0.05}}
TWO_EPOCHS = SGD | {"training.epochs": 2}
DIVIDED = {"training.sharding": "full"}
WHOLE = {"training.sharding": "none"}
PARTS = {"training.gradientAccumulation": 2, "training.clipNorm": 0.5}
UNEVEN = {"data.split": {"validation": 0.4, "test": 0.1, "stratifyBy": "label"}}
"""One batch of validation rows: the second worker has none."""
REGULARIZED = {"training.regularization": {"emaDecay": 0.9, "l2Sp": 1.0, "rDrop": 1.0, "stochasticDepth": 0.2}}
TOLERANCE = 1e-6


def both(case: Case) -> list[Case]:
    """A case undivided, and the same divided."""
    divided = replace(case, name=f"{case.name}-divided", changes=case.changes | DIVIDED)
    return [case, replace(divided, cache=f"{case.cache}-divided" if case.cache else None)]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TinyJob]:
    """Folders of tiny jobs, their stores made."""
    root = tmp_path_factory.mktemp("jobs")
    made = {
        "plain": TinyJob(root / "plain", **NO_DROPOUT),
        "dropout": TinyJob(root / "dropout"),
        "xlnet": TinyJob(root / "xlnet", family="xlnet", dropout=0.0, summary_last_dropout=0.0),
        "albert": TinyJob(root / "albert", family="albert", **NO_DROPOUT),
    }
    for tiny in made.values():
        tiny.store(tiny.spec())
    made["dropout"].store(made["dropout"].spec(UNEVEN))
    return made


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> CausalJob:
    """A job of a causal model whose head is its embedding."""
    made = CausalJob(tmp_path_factory.mktemp("causal") / "job", **tiny_causal.NO_DROPOUT)
    made.store(made.spec(PACK))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gang's checkpoints are."""
    return tmp_path_factory.mktemp("gang") / "two"


@pytest.fixture(scope="module")
def gang(jobs: dict[str, TinyJob], causal: CausalJob, folder: Path) -> dict[str, list[Worked]]:
    """What two workers make of each case, undivided and divided."""
    roots = {name: str(tiny.root) for name, tiny in jobs.items()}
    plain, dropout = roots["plain"], roots["dropout"]
    shared = [
        Case("sgd", GRADUAL | SGD | PARTS, plain),
        Case("adamw", GRADUAL | ADAMW | PARTS, plain),
        Case("dropout", GRADUAL | ADAMW, dropout),
        Case("uneven", GRADUAL | ADAMW | UNEVEN, dropout, cache=str(folder.parent / "uneven")),
        Case("bfloat16", GRADUAL | SGD | LORA | {"model.dtype": "bfloat16", "training.precision": "bfloat16"}, plain),
        Case("turns", rotating("shuffled", state="keep", train=("all",)) | ADAMW, plain),
        Case("mid-epoch", MID_EPOCH | SGD, plain),
        Case("adaptive", adapting({"steps": 4}) | SGD, plain),
        Case("adapter", GRADUAL | ADAMW | DORA, plain),
        Case("recomputed", GRADUAL | ADAMW | {"training.activationCheckpointing": True}, dropout),
        Case("regularized", GRADUAL | ADAMW | REGULARIZED, dropout),
        Case("unused", TWO_EPOCHS, roots["xlnet"]),
        Case("albert", TWO_EPOCHS, roots["albert"]),
        Case("causal", TWO_EPOCHS | PACK | PARTS, str(causal.root), job=CausalJob),
        Case("pairs", {"freezing": {"preset": "gradual"}, "training.epochs": 5}),
    ]
    others = [
        Case("cached-divided", GRADUAL | ADAMW | DIVIDED, dropout, cache=str(folder.parent / "cache")),
        Case("becomes-divided", GRADUAL | ADAMW | PARTS, plain, stops=(2,), then=DIVIDED),
        Case("becomes-whole", GRADUAL | ADAMW | PARTS | DIVIDED, plain, stops=(2,), then=WHOLE),
        Case("interrupted-divided", GRADUAL | ADAMW | DIVIDED, dropout, stops=(1, 3)),
    ]
    return run_gang(folder, [each for case in shared for each in both(case)] + others)


CASES = [
    *("sgd", "adamw", "dropout", "uneven", "bfloat16", "turns", "mid-epoch", "adaptive", "adapter", "recomputed"),
    *("regularized", "unused", "albert", "causal", "pairs"),
]


@pytest.mark.parametrize("name", CASES)
def test_losses_and_metrics_are_those_of_whole_models(gang: dict[str, list[Worked]], name: str) -> None:
    same_reports(gang[f"{name}-divided"][0], gang[name][0])


@pytest.mark.parametrize("name", CASES)
def test_the_last_checkpoint_is_that_of_whole_models(gang: dict[str, list[Worked]], folder: Path, name: str) -> None:
    same_checkpoint(folder, f"{name}-divided", name)


@pytest.mark.parametrize("name", CASES)
def test_both_workers_have_the_same_tensors_after_every_epoch(gang: dict[str, list[Worked]], name: str) -> None:
    first, second = gang[f"{name}-divided"]
    assert len(first.snapshots) == len(second.snapshots) > 1
    for mine, other in zip(first.snapshots, second.snapshots, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("name", ["becomes-divided", "becomes-whole"])
def test_a_checkpoint_is_gone_on_from_either_way(gang: dict[str, list[Worked]], folder: Path, name: str) -> None:
    same_reports(gang[name][0], gang["adamw"][0])
    same_checkpoint(folder, name, "adamw")


def test_a_divided_trial_goes_on_bit_for_bit(gang: dict[str, list[Worked]]) -> None:
    interrupted, straight = gang["interrupted-divided"], gang["dropout-divided"]
    assert interrupted[0].reports == straight[0].reports
    for mine, other in zip(interrupted[1].snapshots, straight[1].snapshots, strict=True):
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_a_divided_trial_that_replays_its_prefix_trains_the_same_bits(gang: dict[str, list[Worked]]) -> None:
    cached, computed = gang["cached-divided"][0], gang["dropout-divided"][0]
    assert [report["prefix"]["blocks"] for report in cached.reports] == [3, 2, 1, 0, 0]
    for mine, other in zip(cached.snapshots, computed.snapshots, strict=True):
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_a_worker_may_have_no_validation_batch(jobs: dict[str, TinyJob], gang: dict[str, list[Worked]]) -> None:
    tiny = jobs["dropout"]
    task = tiny.task(tiny.spec(GRADUAL | UNEVEN))
    assert [len(list(task.batches("validation", 0, Share(rank, WORKERS)))) for rank in range(WORKERS)] == [1, 0]
    assert gang["uneven-divided"][0].state == "succeeded"


def same_reports(found: Worked, wanted: Worked) -> None:
    assert len(found.reports) == len(wanted.reports) > 1
    for mine, other in zip(found.reports, wanted.reports, strict=True):
        assert mine["phase"] == other["phase"]
        assert mine["prefix"].get("blocks") == other["prefix"].get("blocks")
        assert mine["train_losses"] == pytest.approx(other["train_losses"], rel=TOLERANCE)
        assert mine["metrics"] == pytest.approx(other["metrics"], rel=TOLERANCE)
        assert (mine["trainable"], mine["warnings"]) == (other["trainable"], other["warnings"])


def same_checkpoint(folder: Path, found: str, wanted: str) -> None:
    """The same files with the same tensors."""
    mine, other = files(folder / f"checkpoints-{found}"), files(folder / f"checkpoints-{wanted}")
    assert mine.keys() == other.keys()
    assert any(name.endswith("optimizer.safetensors") for name in mine)
    for name, tensors in mine.items():
        assert tensors.keys() == other[name].keys()
        for key, tensor in tensors.items():
            assert tensor.dtype == other[name][key].dtype
            difference = (tensor - other[name][key]).float().norm()
            assert difference <= TOLERANCE * max(1.0, float(other[name][key].float().norm())), (name, key)


def files(place: Path) -> dict[str, dict[str, Any]]:
    return {str(file.relative_to(place)): load_file(file) for file in place.rglob("*.safetensors")}
