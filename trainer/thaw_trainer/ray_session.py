"""Ray, the exchange and the slots of one run. Ray starts while the main thread imports torch: both take seconds.

- The thread that starts Ray lives as long as Ray does: Ray's processes ask the kernel to be killed when the thread that
  started them ends.
- Libraries are imported by the main thread alone: torch and Ray Train, imported by two threads at once, find each other
  half initialized.
"""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thaw_trainer.environment import set_environment
from thaw_trainer.search.parallelism import Machine, SlotPlan

if TYPE_CHECKING:
    from thaw_trainer.slots.launch import Slots

RETRIES = 3
"""How often a trial goes to another gang after its workers died."""
SLOTS_READY_SECONDS = 300.0
"""How long the first gang may take to ask for work."""
_CLOSE_SECONDS = 10.0


class RaySession:
    """Ray, the exchange and the slots of one run."""

    def __init__(self, connect: Callable[[], None], machines: Callable[[], list[Machine]]) -> None:
        """Begins to connect to Ray, in a thread of its own.

        Args:
            connect: starts or joins Ray.
            machines: what there is for gangs, once Ray is there.
        """
        set_environment()
        import ray  # noqa: F401  imported here, in the main thread

        self._connect, self._machines = connect, machines
        self._on_termination = signal.getsignal(signal.SIGTERM)
        self._error: Exception | None = None
        self._slots: Slots | None = None
        self._started, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="ray", daemon=True)
        self._thread.start()

    def open_slots(
        self, plan: Callable[[list[Machine]], SlotPlan], task: str, logs: Path, storage: Path
    ) -> tuple[Any, SlotPlan]:
        """Waits for Ray and begins to start the slots, from the main thread; returns the exchange and the slots' plan.

        Args:
            plan: decides the slots from what the machines have.

        Raises:
            TrainerError: what `machines` and `plan` raise; or what kept Ray from starting.
        """
        from thaw_trainer.slots.launch import Slots, start_exchange

        self._started.wait()
        if self._on_termination is not None:
            # Ray has put one in its place that ends the process with a dump of its stacks.
            signal.signal(signal.SIGTERM, self._on_termination)
        if self._error is not None:
            raise self._error
        slot_plan = plan(self._machines())
        exchange = start_exchange(RETRIES)
        self._slots = Slots(exchange, slot_plan, task, logs, storage)
        threading.Thread(
            target=self._watch, args=(exchange, self._slots, logs), name="slots-watch", daemon=True
        ).start()
        return exchange, slot_plan

    def send_home(self) -> None:
        """Lets the gangs leave while this process goes on: there is no more work."""
        if self._slots is not None:
            self._closing.set()
            self._slots.send_home()

    def close(self) -> None:
        """Sends the gangs home and leaves Ray: one of this process's own ends, a cluster goes on.

        When a gang does not come home in time (one that was interrupted in mid-epoch), Ray is left to end with this
        process: shutting it down under a thread that waits for it would abort the process.
        """
        self._started.wait()
        self._closing.set()
        if self._slots is None or self._slots.close(_CLOSE_SECONDS):
            import ray

            ray.shutdown()

    def _hold(self) -> None:
        """Connects to Ray and stays."""
        try:
            self._connect()
            _silence_raylet()
        except Exception as error:  # told by `open_slots`
            self._error = error
        self._started.set()
        threading.Event().wait()

    def _watch(self, exchange: Any, slots: "Slots", logs: Path) -> None:
        """Ends the search when no gang comes up, or none is left: nobody waits for ever."""
        import ray

        from thaw_trainer.slots.exchange import not_ready_failure

        deadline = time.monotonic() + SLOTS_READY_SECONDS
        ready, problem = False, ""
        while not problem and not self._closing.wait(1.0):
            ready = ready or bool(ray.get(exchange.ready_slots.remote()))
            if not ready and time.monotonic() > deadline:
                problem = f"no worker was ready after {SLOTS_READY_SECONDS:.0f} s; see {logs}"
            elif not slots.alive():
                problem = "; ".join(slots.errors) or "every slot ended"
        if problem and not self._closing.is_set():
            ray.get(exchange.abort.remote(not_ready_failure(problem)))


def _silence_raylet() -> None:
    """Keeps raylet's notices off the terminal, such as the one that a small machine has many processes: Ray has no
    setting for them (`log_to_driver=False` leaves them through). Ray's own files have them."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = _print_nothing


def _print_nothing(data: Any, ignore_prefix: bool) -> None:
    """In place of Ray's printing of notices."""
