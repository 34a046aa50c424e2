"""How many gangs there is room for, and how many threads each worker gets: never more threads than cores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_count
from thaw_trainer.errors import NOT_ENOUGH_CORES, TrainerError
from thaw_trainer.fused.kin import MOST_IN_A_STEP, shares_steps

_WORKER_BYTES = 1_200_000_000
"""Memory of a worker process before its model: torch, transformers and Ray."""
_MODEL_COPIES = 5
"""Weights, gradients, two moments, and as much again for activations."""


@dataclass(frozen=True)
class SlotPlan:
    """How many gangs there are, and what each worker has."""

    slots: int
    workers: int
    threads: int
    gpus: bool


@dataclass(frozen=True)
class Machine:
    """What one machine has to share."""

    cores: int
    gpus: int
    memory: int
    """Bytes that are free."""


def plan_slots(spec: FineTuneJobSpec, machines: Sequence[Machine], model_bytes: int) -> SlotPlan:
    """The gangs for a search. A worker is on one machine; a gang may spread over several.

    Args:
        machines: those that workers run on; when one has GPUs, workers run on GPUs only.

    Raises:
        TrainerError: NotEnoughCores, when one gang has more workers than there are cores (or GPUs).
    """
    workers = spec.cluster.workers_per_trial
    on_gpus = any(machine.gpus for machine in machines)
    units = [machine.gpus if on_gpus else machine.cores for machine in machines]
    if workers > sum(units):
        raise _too_many(workers, len(machines), sum(units), "GPUs" if on_gpus else "cores")
    wanted = trial_count(spec)
    if spec.search.parallel == "auto":
        worker_bytes = _WORKER_BYTES + _MODEL_COPIES * model_bytes
        if shares_steps(spec) and not on_gpus:
            # On the same cores, one process that trains many heads starts sooner than several with a few each.
            wanted = min(wanted, max(len(machines), math.ceil(wanted / MOST_IN_A_STEP)))
        fitting = [min(unit, machine.memory // worker_bytes) for unit, machine in zip(units, machines, strict=True)]
        if sum(fitting) >= workers:
            units = fitting
        else:
            wanted = 1  # memory may not suffice even for one gang, which the reckoning cannot know
    else:
        wanted = min(wanted, spec.search.parallel)
    slots = max(1, min(sum(units) // workers, wanted))
    return SlotPlan(slots, workers, _threads(machines, units, slots * workers), on_gpus)


def _threads(machines: Sequence[Machine], units: Sequence[int], workers: int) -> int:
    """The most threads for each worker with which all of them find a place.

    Args:
        units: the most workers that each machine takes.
    """
    for threads in range(max(machine.cores for machine in machines), 1, -1):
        places = [min(unit, machine.cores // threads) for unit, machine in zip(units, machines, strict=True)]
        if sum(places) >= workers:
            return threads
    return 1


def _too_many(workers: int, machines: int, units: int, unit: str) -> TrainerError:
    if machines == 1:
        there, remedy = (
            f"this machine has {units}",
            "the result is the same with fewer: --set cluster.workersPerTrial=1",
        )
    else:
        there, remedy = f"the {machines} machines have {units} together", "fewer give the same result"
    message = f"{workers} workers need as many {unit}, and {there}; {remedy}"
    return TrainerError(NOT_ENOUGH_CORES, message, "spec.cluster.workersPerTrial")
