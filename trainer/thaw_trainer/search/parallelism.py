"""How many gangs a machine has room for, and how many threads each worker gets: never more threads than cores."""

from dataclasses import dataclass

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_count
from thaw_trainer.errors import NOT_ENOUGH_CORES, TrainerError

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
    """What there is to share."""

    cores: int
    gpus: int
    memory: int
    """Bytes that are free."""


def plan_slots(spec: FineTuneJobSpec, machine: Machine, model_bytes: int) -> SlotPlan:
    """The gangs for a search.

    Raises:
        TrainerError: NotEnoughCores, when one gang has more workers than the machine has cores (or GPUs).
    """
    workers = spec.cluster.workers_per_trial
    units, unit = (machine.gpus, "GPUs") if machine.gpus else (machine.cores, "cores")
    if workers > units:
        raise TrainerError(
            NOT_ENOUGH_CORES,
            f"{workers} workers need as many {unit}, and this machine has {units}; "
            "the result is the same with fewer: --set cluster.workersPerTrial=1",
            "spec.cluster.workersPerTrial",
        )
    room = units // workers
    wanted = trial_count(spec)
    if spec.search.parallel == "auto":
        by_memory = machine.memory // ((_WORKER_BYTES + _MODEL_COPIES * model_bytes) * workers)
        room = max(1, min(room, int(by_memory)))
    else:
        wanted = min(wanted, spec.search.parallel)
    slots = max(1, min(room, wanted))
    return SlotPlan(slots, workers, max(1, machine.cores // (slots * workers)), bool(machine.gpus))
