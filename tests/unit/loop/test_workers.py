from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.unit.loop.gangs import Case, Worked, run_gang, train
from tests.unit.loop.test_adapter_trial import DORA, LORA
from tests.unit.loop.test_adaptive_trial import adapting
from tests.unit.loop.test_stages import MID_EPOCH, rotating
from tests.unit.tiny_jobs import GRADUAL, NO_DROPOUT, TinyJob
from thaw_trainer.loop.distributed import Gang

SGD = {"training.optimizer": {"name": "sgd", "lr": 0.05}}
REGULARIZED = {"training.regularization": {"emaDecay": 0.9, "l2Sp": 1.0, "rDrop": 1.0}}
TWO = {"cluster.workersPerTrial": 2}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """All trials of this module."""
    root = tmp_path_factory.mktemp("jobs")
    plain = str(TinyJob(root / "plain", **NO_DROPOUT).root)
    dropout = str(TinyJob(root / "dropout").root)
    xlnet = str(TinyJob(root / "xlnet", family="xlnet", dropout=0.0, summary_last_dropout=0.0).root)
    found = [
        Case("sgd", GRADUAL | SGD, plain),
        Case("adamw", GRADUAL, plain),
        Case("accumulated", GRADUAL | SGD | {"training.gradientAccumulation": 2}, plain),
        Case("regularized", GRADUAL | SGD | REGULARIZED, plain),
        Case("dropout", GRADUAL, dropout),
        Case("cached", GRADUAL, dropout, cache=str(root / "cache")),
        Case("interrupted", GRADUAL, dropout, stops=(1, 3)),
        Case("turns", rotating("random", blocks=2) | SGD, plain),
        Case("mid-epoch", MID_EPOCH | SGD, plain),
        Case("turns-dropout", rotating("shuffled", state="keep", train=("all",)), dropout),
        Case("turns-interrupted", rotating("shuffled", state="keep", train=("all",)), dropout, stops=(1, 2)),
        Case("adapter", GRADUAL | SGD | LORA, plain),
        Case("adapter-dropout", GRADUAL | DORA, dropout),
        Case("adapter-interrupted", GRADUAL | DORA, dropout, stops=(1, 3)),
        Case("adaptive", adapting({"steps": 4}) | SGD, plain),
        Case("unused", SGD | {"training.epochs": 2}, xlnet),
        Case("pairs", {"freezing": {"preset": "gradual"}, "training.epochs": 5}),
        Case("pairs-interrupted", {"freezing": {"preset": "gradual"}, "training.epochs": 5}, stops=(2,)),
    ]
    for name in ("plain", "dropout", "xlnet"):
        tiny = TinyJob.there(root / name)
        tiny.store(tiny.spec())
    return {case.name: case for case in found}


@pytest.fixture(scope="module")
def gang(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Worked]]:
    """What two workers make of them."""
    return run_gang(tmp_path_factory.mktemp("gang") / "two", list(cases.values()))


def alone(case: Case, folder: Path) -> Worked:
    return train(case, folder, Gang())


def losses(worked: Worked) -> list[list[float]]:
    return [report["train_losses"] for report in worked.reports]


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("sgd", 1e-4),
        ("adamw", 1e-2),
        ("accumulated", 1e-4),
        ("regularized", 1e-4),
        ("unused", 1e-4),
        ("turns", 1e-4),
        ("mid-epoch", 1e-3),
        ("adaptive", 1e-3),
        ("adapter", 1e-4),
    ],
)
def test_two_workers_have_the_losses_of_one_through_every_phase(
    cases: dict[str, Case], gang: dict[str, list[Worked]], tmp_path: Path, name: str, tolerance: float
) -> None:
    one, two = alone(cases[name], tmp_path), gang[name][0]
    assert [report["phase"] for report in two.reports] == [report["phase"] for report in one.reports]
    for found, expected in zip(losses(two), losses(one), strict=True):
        assert found == pytest.approx(expected, abs=tolerance)
    for found_metrics, expected_metrics in zip(two.reports, one.reports, strict=True):
        assert found_metrics["metrics"]["loss"] == pytest.approx(expected_metrics["metrics"]["loss"], abs=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "sgd",
        "adamw",
        "accumulated",
        "dropout",
        "interrupted",
        "unused",
        "pairs",
        "turns",
        "mid-epoch",
        "adaptive",
        "adapter",
        "adapter-dropout",
        "turns-dropout",
    ],
)
def test_both_workers_have_the_same_tensors_bit_for_bit_after_every_epoch(
    gang: dict[str, list[Worked]], name: str
) -> None:
    first, second = gang[name]
    assert len(first.snapshots) == len(second.snapshots) > 1
    for mine, other in zip(first.snapshots, second.snapshots, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_a_gang_goes_on_bit_for_bit_from_its_checkpoints(gang: dict[str, list[Worked]]) -> None:
    for name, interrupted in (
        ("dropout", "interrupted"),
        ("pairs", "pairs-interrupted"),
        ("turns-dropout", "turns-interrupted"),
        ("adapter-dropout", "adapter-interrupted"),
    ):
        assert gang[interrupted][0].reports == gang[name][0].reports
        for mine, other in zip(gang[interrupted][1].snapshots, gang[name][1].snapshots, strict=True):
            assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_a_gang_that_replays_its_prefix_trains_the_same_bits(gang: dict[str, list[Worked]]) -> None:
    cached, computed = gang["cached"], gang["dropout"]
    assert [report["prefix"]["blocks"] for report in cached[0].reports] == [3, 2, 1, 0, 0]
    assert losses(cached[0]) == losses(computed[0])
    for worker, other in zip(cached, computed, strict=True):
        for mine, theirs in zip(worker.snapshots, other.snapshots, strict=True):
            assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_workers_drop_out_differently(gang: dict[str, list[Worked]], cases: dict[str, Case], tmp_path: Path) -> None:
    assert losses(gang["dropout"][0]) != losses(alone(cases["dropout"], tmp_path))


def test_only_the_first_worker_reports(gang: dict[str, list[Worked]]) -> None:
    assert all(not second.reports and first.reports for first, second in gang.values())
    assert {worker.state for worked in gang.values() for worker in worked} == {"succeeded"}
