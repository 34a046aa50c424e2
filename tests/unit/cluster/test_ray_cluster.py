"""The driver waits for its workers, and not for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.manifests import job
from thaw_api.contract import HEAD_RESOURCE
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.cluster.ray_cluster import MACHINES_SECONDS, Node, await_machines, wanted_machines, worker_machines
from thaw_trainer.errors import SLOTS_NOT_READY, TrainerError
from thaw_trainer.search.parallelism import Machine

HEAD: Node = {"Alive": True, "Resources": {HEAD_RESOURCE: 1000.0, "memory": 1e9, "node:__internal_head__": 1.0}}


def worker(cpus: float = 2.0, alive: bool = True, **more: float) -> Node:
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": 4e9, **more}}


def spec(changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(job({"cluster.workers": {"replicas": 2}} | (changes or {}))["spec"])


class Joining:
    """Nodes that join one after the other, and a clock that only pauses move."""

    def __init__(self, *nodes: Node, seconds_each: float) -> None:
        self.now, self._nodes, self._seconds = 0.0, nodes, seconds_each

    def nodes(self) -> list[Node]:
        return [HEAD, *self._nodes[: int(self.now / self._seconds)]]

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def wait(joining: Joining, of: FineTuneJobSpec) -> list[Machine]:
    return await_machines(of, joining.nodes, joining.clock, joining.pause)


def test_the_head_and_the_dead_train_nothing() -> None:
    assert worker_machines([HEAD, worker(), worker(alive=False), worker(GPU=4.0)]) == [
        Machine(2, 0, 4_000_000_000),
        Machine(2, 4, 4_000_000_000),
    ]


@pytest.mark.parametrize(("changes", "wanted"), [({}, 2), ({"cluster.workers": {}}, 1)])
def test_the_manifest_says_how_many_workers_there_are(changes: dict[str, Any], wanted: int) -> None:
    assert wanted_machines(spec(changes)) == wanted


def test_it_waits_until_all_workers_have_joined() -> None:
    joining = Joining(worker(1.0), worker(3.0), seconds_each=20.0)
    assert [machine.cores for machine in wait(joining, spec())] == [1, 3]
    assert joining.now == 40.0


def test_with_fewer_it_goes_on_in_the_end_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("thaw"), "propagate", True)
    machines = wait(Joining(worker(), seconds_each=20.0), spec())
    assert len(machines) == 1
    assert "1 of 2 workers have joined" in caplog.text


@pytest.mark.parametrize(
    ("nodes", "changes"),
    [([], {}), ([worker()], {"cluster.workersPerTrial": 4})],
    ids=["no worker", "no room for a gang"],
)
def test_without_room_for_a_gang_it_gives_up_after_its_time(nodes: list[Node], changes: dict[str, Any]) -> None:
    joining = Joining(*nodes, seconds_each=20.0)
    error = refusal(lambda: wait(joining, spec(changes)))
    assert (error.reason, error.cause, error.field) == (SLOTS_NOT_READY, "infrastructure", "spec.cluster.workers")
    assert f"{len(nodes)} of 2 workers" in error.message
    assert MACHINES_SECONDS < joining.now < MACHINES_SECONDS + 2


def refusal(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    return caught.value
