"""How gangs share machines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests import job, parameter
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.errors import NOT_ENOUGH_CORES, TrainerError
from thaw_trainer.search.parallelism import Machine, SlotPlan, plan_slots

GIB = 2**30
MODEL_BYTES = 90_000_000


def spec(changes: dict[str, Any] | None = None, trials: int = 16, workers: int = 1) -> FineTuneJobSpec:
    plain = {
        "search.trials": trials,
        "search.parameters": [parameter("training.optimizer.lr", logUniform={"min": 1e-5, "max": 1e-2})],
        "cluster.workersPerTrial": workers,
        "training.batchSize": 64 * workers,
    }
    return FineTuneJobSpec.model_validate(job(plain | (changes or {}))["spec"])


def plan(*machines: Machine, of: FineTuneJobSpec | None = None) -> SlotPlan:
    return plan_slots(of or spec(), machines, MODEL_BYTES)


def test_one_machine_has_a_gang_for_each_core() -> None:
    assert plan(Machine(4, 0, 64 * GIB)) == SlotPlan(slots=4, workers=1, threads=1, gpus=False)


def test_few_trials_have_more_threads_each() -> None:
    assert plan(Machine(8, 0, 64 * GIB), of=spec(trials=3)) == SlotPlan(3, 1, 2, gpus=False)


def test_memory_bounds_the_gangs_of_each_machine_by_itself() -> None:
    assert plan(Machine(4, 0, 4 * GIB), Machine(4, 0, 64 * GIB)).slots == 2 + 4


def test_with_memory_for_none_there_is_one_gang() -> None:
    assert plan(Machine(4, 0, GIB // 2)) == SlotPlan(1, 1, 4, gpus=False)


def test_what_the_manifest_says_of_parallel_trials_is_done_whatever_memory_there_is() -> None:
    assert plan(Machine(4, 0, GIB), of=spec({"search.parallel": 2})) == SlotPlan(2, 1, 2, gpus=False)


HEADS = {"freezing.preset": "head-only"}


@pytest.mark.parametrize(("trials", "slots"), [(16, 1), (17, 2), (33, 3), (100, 4)])
def test_trials_that_share_steps_want_few_gangs(trials: int, slots: int) -> None:
    assert plan(Machine(4, 0, 64 * GIB), of=spec(HEADS, trials=trials)).slots == slots


@pytest.mark.parametrize(
    "changes",
    [
        {"freezing.cache": {"mode": "never"}},
        {"search.parallel": 4},
        {"search.algorithm": {"name": "tpe"}},
        {"search.parameters": [parameter("training.seed", int={"min": 1, "max": 99})]},
        {"freezing.frozenDropout": "on"},
        {"search.parameters": [parameter("freezing.preset", choice={"values": ["head-only", "none"]})]},
    ],
)
def test_trials_that_may_not_share_steps_want_as_many_as_there_are(changes: dict[str, Any]) -> None:
    assert plan(Machine(4, 0, 64 * GIB), of=spec(HEADS | changes)).slots == 4


def test_every_machine_has_a_gang() -> None:
    assert plan(*[Machine(4, 0, 64 * GIB)] * 3, of=spec(HEADS)).slots == 3


def test_gpus_are_all_used_by_trials_that_share_steps() -> None:
    assert plan(Machine(8, 4, 64 * GIB), of=spec(HEADS)).slots == 4


def test_a_gang_may_spread_over_machines() -> None:
    assert plan(*[Machine(2, 0, 64 * GIB)] * 2, of=spec(workers=4, trials=1)) == SlotPlan(1, 4, 1, gpus=False)


def test_a_worker_is_on_one_machine() -> None:
    """Two workers of 3 threads would be 6 of the 7 cores there are, but no machine has 6."""
    assert plan(Machine(3, 0, 64 * GIB), Machine(4, 0, 64 * GIB), of=spec(trials=2)).threads == 3
    assert plan(Machine(1, 0, 64 * GIB), Machine(6, 0, 64 * GIB), of=spec(trials=2)).threads == 3
    assert plan(Machine(3, 0, 64 * GIB), Machine(3, 0, 64 * GIB), of=spec(trials=3)).threads == 1


def test_where_there_are_gpus_workers_are_on_them() -> None:
    gpus = Machine(16, 4, 64 * GIB)
    assert plan(gpus, gpus, of=spec(workers=2)) == SlotPlan(4, 2, 4, gpus=True)
    assert plan(gpus, Machine(64, 0, 64 * GIB), of=spec(workers=2)) == SlotPlan(2, 2, 4, gpus=True)


def test_a_gang_that_fits_nowhere_is_refused_with_its_field() -> None:
    with pytest.raises(TrainerError, match="2 machines have 4 together") as caught:
        plan(*[Machine(2, 0, 64 * GIB)] * 2, of=spec(workers=8))
    assert (caught.value.reason, caught.value.field) == (NOT_ENOUGH_CORES, "spec.cluster.workersPerTrial")
    with pytest.raises(TrainerError, match="this machine has 2"):
        plan(Machine(2, 0, 64 * GIB), of=spec(workers=8))


MACHINES = st.lists(st.builds(Machine, st.integers(1, 32), st.integers(0, 4), st.integers(0, 64 * GIB)), min_size=1)


@given(MACHINES, st.integers(1, 20), st.integers(1, 4))
def test_every_worker_finds_a_place_with_its_threads(machines: list[Machine], trials: int, workers: int) -> None:
    on_gpus = any(machine.gpus for machine in machines)
    if workers > sum(machine.gpus if on_gpus else machine.cores for machine in machines):
        return
    made = plan_slots(spec(trials=trials, workers=workers), machines, MODEL_BYTES)
    assert 1 <= made.slots <= trials
    if on_gpus:
        assert made.slots * workers <= sum(machine.gpus for machine in machines)
    else:
        places = sum(machine.cores // made.threads for machine in machines)
        assert places >= made.slots * workers
