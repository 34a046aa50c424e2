"""Ray Train runs that hold the gangs: one TorchTrainer for each slot, started from a thread of the driver."""

import logging
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from thaw_api.contract import HEAD_RESOURCE
from thaw_trainer.search.parallelism import SlotPlan
from thaw_trainer.slots.exchange import Exchange
from thaw_trainer.slots.worker import work_in_ray_train

_log = logging.getLogger("thaw.slots")


def start_exchange(retries: int) -> Any:
    """The exchange as an actor on the driver's node."""
    actor = ray.remote(Exchange).options(num_cpus=0, resources={HEAD_RESOURCE: 0.001}, max_concurrency=1000)
    return actor.remote(retries)


class Slots:
    """The running gangs of one search."""

    def __init__(self, exchange: Any, plan: SlotPlan, task: str, logs: Path, storage: Path) -> None:
        self._exchange, self._plan = exchange, plan
        self._config = {"exchange": exchange, "task": task, "threads": plan.threads, "logs": str(logs)}
        self._storage = storage
        if plan.workers > 1:
            import ray.train.torch  # noqa: F401  here, in the main thread
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._hold, args=(slot,), name=f"slot-{slot}", daemon=True)
            for slot in range(plan.slots)
        ]
        for thread in self._threads:
            thread.start()

    def alive(self) -> int:
        """Slots whose run goes on."""
        return sum(thread.is_alive() for thread in self._threads)

    def send_home(self) -> None:
        """Lets the gangs leave; they take seconds."""
        ray.get(self._exchange.close.remote())

    def close(self, timeout: float) -> bool:
        """Sends the gangs home; whether all of their runs have ended in time."""
        self.send_home()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not self.alive()

    def _trainer(self, **settings: Any) -> DataParallelTrainer:
        """A gang of one has no process group to set up; its controller is then spared the import of torch."""
        if self._plan.workers == 1:
            return DataParallelTrainer(work_in_ray_train, **settings)
        from ray.train.torch import TorchConfig, TorchTrainer

        torch_config = TorchConfig(backend="cpu:gloo,cuda:nccl" if self._plan.gpus else "gloo", timeout_s=86400)
        return TorchTrainer(work_in_ray_train, torch_config=torch_config, **settings)

    def _hold(self, slot: int) -> None:
        """One slot's Ray Train run. Ray Train replaces gangs that die, without limit: the exchange counts."""
        worker = {"GPU": 1.0} if self._plan.gpus else {"CPU": float(self._plan.threads)}
        trainer = self._trainer(
            train_loop_config=self._config | {"slot": slot},
            scaling_config=ScalingConfig(
                num_workers=self._plan.workers, use_gpu=self._plan.gpus, resources_per_worker=worker
            ),
            run_config=RunConfig(
                # A name of its own: Ray Train goes on with what an earlier run of the same name has left.
                name=f"slot-{slot}-{uuid.uuid4().hex[:8]}",
                storage_path=str(self._storage),
                failure_config=FailureConfig(max_failures=-1),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # the run's end is told to the exchange; the driver reads `errors`
            _log.error("slot %d ended: %s", slot, error)
            self.errors.append(f"slot {slot}: {error}")
        try:
            ray.get(self._exchange.slot_ended.remote(slot))
        except Exception as error:  # Ray is shutting down: there is nobody left to tell
            _log.info("slot %d: the exchange is gone: %s", slot, error)
