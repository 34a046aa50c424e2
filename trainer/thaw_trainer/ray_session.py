"""An embedded Ray for one run: started beside the preparation of data, since both take seconds.

The thread that starts Ray lives as long as Ray does: Ray's processes ask the kernel to be killed when the thread that
started them ends.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thaw_trainer.search.parallelism import Machine
from thaw_trainer.slots.exchange import not_ready_failure
from thaw_trainer.slots.launch import HEAD, SlotPlan, Slots, start_exchange

RETRIES = 3
"""How often a trial goes to another gang after its workers died."""
SLOTS_READY_SECONDS = 300.0
"""How long the first gang may take to ask for work."""
_OBJECT_STORE_BYTES = 200_000_000
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_THRESHOLD_S": "60",
}


class RaySession:
    """Ray, the exchange and the slots of one run. `ready` waits for them, `close` ends them."""

    def __init__(self, plan: Callable[[Machine], SlotPlan], task: str, logs: Path, storage: Path) -> None:
        """`plan` decides the slots from what the machine has."""
        self._plan, self._task, self._logs, self._storage = plan, task, logs, storage
        self._error: Exception | None = None
        self._started, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="ray", daemon=True)
        self._thread.start()

    def ready(self) -> tuple[Any, SlotPlan]:
        """The exchange and the slots' plan; raises what kept Ray from starting."""
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self._exchange, self._slot_plan

    def close(self) -> None:
        """Ends gangs and Ray; nothing of them is left."""
        self._started.wait()
        self._closing.set()
        self._thread.join()

    def _hold(self) -> None:
        try:
            self._start()
        except Exception as error:  # told by `ready`
            self._error = error
        finally:
            self._started.set()
        import ray

        try:
            if self._error is None:
                self._watch()
            self._closing.wait()
        finally:
            ray.shutdown()

    def _start(self) -> None:
        os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
        import ray

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ray.init(
            address="local",
            num_cpus=cores,
            resources={HEAD: 1000},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=_OBJECT_STORE_BYTES,
        )
        self._slot_plan = self._plan(_machine(cores, int(ray.cluster_resources().get("GPU", 0))))
        self._exchange = start_exchange(RETRIES)
        self._slots = Slots(self._exchange, self._slot_plan, self._task, self._logs, self._storage)

    def _watch(self) -> None:
        """Ends the search when no gang comes up, or none is left: nobody waits for ever."""
        import ray

        deadline = time.monotonic() + SLOTS_READY_SECONDS
        ready = False
        while not self._closing.wait(1.0):
            ready = ready or bool(ray.get(self._exchange.ready_slots.remote()))
            if not ready and time.monotonic() > deadline:
                return self._abort(f"no worker was ready after {SLOTS_READY_SECONDS:.0f} s; see {self._logs}")
            if not self._slots.alive():
                return self._abort("; ".join(self._slots.errors) or "every slot ended")
        return None

    def _abort(self, message: str) -> None:
        import ray

        ray.get(self._exchange.abort.remote(not_ready_failure(message)))


def _machine(cores: int, gpus: int) -> Machine:
    import psutil

    return Machine(cores, gpus, int(psutil.virtual_memory().available))
