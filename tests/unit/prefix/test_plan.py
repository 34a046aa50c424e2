from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from tests.manifests import parameter
from tests.unit.prefix.sites import HEAD
from tests.unit.tiny_jobs import GRADUAL, TinyJob
from thaw_trainer.prefix.plan import PrefixPlan, bytes_of
from thaw_trainer.prefix.worth import DiskSpeed, Estimate
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

LR = parameter("training.optimizer.lr", logUniform={"min": 1e-4, "max": 1e-2})


def planned(tiny: TinyJob, changes: dict[str, Any]) -> PrefixPlan:
    spec = tiny.spec(changes)
    files = JobFiles(UriRoots(tiny.root), tiny.root / "stores")
    return prepare_job(spec, find_task(spec.task), files).prefixes[spec.model.uri]


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        (HEAD, {3: 4}),
        (HEAD | {"search.parameters": [LR], "search.trials": 8}, {3: 32}),
        (GRADUAL, {1: 1, 2: 1, 3: 1}),
        ({"freezing": {"preset": "none"}}, {}),
        (HEAD | {"freezing.cache": {"mode": "never"}}, {}),
        ({"freezing": {"preset": "head-only", "frozenDropout": "on"}}, {}),
        (
            {
                "freezing": {"preset": "last-n", "depth": 1},
                "search.parameters": [parameter("freezing.depth", int={"min": 1, "max": 3})],
                "search.trials": 9,
            },
            {1: 12, 2: 12},
        ),
    ],
    ids=["one-trial", "search", "gradual", "nothing-frozen", "never", "frozen-dropout", "searched-depth"],
)
def test_boundaries_and_passes_of_a_search(tiny: TinyJob, changes: dict[str, Any], passes: dict[int, int]) -> None:
    assert planned(tiny, changes).passes == passes


def test_the_plan_survives_json(tiny: TinyJob) -> None:
    plan = planned(tiny, HEAD)
    assert PrefixPlan.from_dict(json.loads(json.dumps(asdict(plan)))) == plan
    assert plan.heads_only
    assert plan.budget == 10 * 2**30


@pytest.mark.parametrize(("quantity", "size"), [("1", 1), ("2k", 2000), ("3Mi", 3 * 2**20), ("4T", 4 * 10**12)])
def test_quantities(quantity: str, size: int) -> None:
    assert bytes_of(quantity) == size


SPEED = DiskSpeed(write=100.0, read=50.0, read_again=1000.0)


def test_an_entry_saves_all_passes_but_one_and_costs_its_reading_and_writing() -> None:
    estimate = Estimate(forward=10.0, bytes=500, passes=4)
    assert estimate.seconds_saved(SPEED, memory=1000) == pytest.approx(40 - (10 + 5 + 4 * 0.5))
    assert estimate.seconds_saved(SPEED, memory=100) == pytest.approx(40 - (10 + 5 + 4 * 10))


def test_one_pass_never_pays() -> None:
    assert Estimate(forward=10.0, bytes=1, passes=1).seconds_saved(SPEED, memory=10) < 0
