"""The Ray cluster around this process: KubeRay starts and ends it, the driver only joins."""

import logging
import os
from collections.abc import Callable
from typing import Any

from thaw_api.contract import HEAD_RESOURCE
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.environment import WORKER_ENVIRONMENT
from thaw_trainer.errors import SLOTS_NOT_READY, TrainerError
from thaw_trainer.search.parallelism import Machine

MACHINES_SECONDS = 300.0
"""How long the worker pods may take to join, once the driver runs."""
_PAUSE_SECONDS = 0.5

_log = logging.getLogger("thaw.cluster")
Node = dict[str, Any]
"""A node as `ray.nodes()` describes it."""


def join_ray() -> None:
    """Connects to the cluster; its workers get the libraries' settings from here, since their pods have none."""
    import ray

    settings = {name: os.environ[name] for name in WORKER_ENVIRONMENT}
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": settings})


def ray_nodes() -> list[Node]:
    """Every node that has ever joined."""
    import ray

    nodes: list[Node] = ray.nodes()
    return nodes


def worker_machines(nodes: list[Node]) -> list[Machine]:
    """What the living nodes have, without the head, which trains nothing."""
    return [
        Machine(int(has.get("CPU", 0)), int(has.get("GPU", 0)), int(has.get("memory", 0)))
        for node in nodes
        if node["Alive"] and HEAD_RESOURCE not in (has := node["Resources"])
    ]


def wanted_machines(spec: FineTuneJobSpec) -> int:
    """How many worker pods the job has."""
    return (spec.cluster.workers.replicas if spec.cluster.workers else None) or 1


def await_machines(
    spec: FineTuneJobSpec,
    nodes: Callable[[], list[Node]],
    clock: Callable[[], float],
    pause: Callable[[float], None],
) -> list[Machine]:
    """The machines of the job's worker pods, once all have joined; in the end those that have, if a gang has room.

    Raises:
        TrainerError: SlotsNotReady (infrastructure), when too few have joined in time.
    """
    wanted, deadline = wanted_machines(spec), clock() + MACHINES_SECONDS
    while True:
        machines = worker_machines(nodes())
        late = clock() > deadline
        if len(machines) >= wanted or late:
            break
        pause(_PAUSE_SECONDS)
    if late:
        told = f"{len(machines)} of {wanted} workers have joined the Ray cluster in {MACHINES_SECONDS:.0f} s"
        room = sum(machine.gpus or machine.cores for machine in machines)
        if room < spec.cluster.workers_per_trial:
            raise TrainerError(SLOTS_NOT_READY, told, "spec.cluster.workers", "infrastructure")
        _log.warning("%s: going on with these", told)
    _log.info("machines: %s", machines)
    return machines
