"""One pass over one job: observe, decide, apply."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from thaw_operator.apply import apply
from thaw_operator.cluster_api import Changed, ClusterApi
from thaw_operator.decide.decide import decide
from thaw_operator.metrics import Metrics
from thaw_operator.observe import Indices, observe
from thaw_operator.observed import Key
from thaw_operator.settings import Settings
from thaw_operator.work_queue import WorkQueue

_CHANGED_SECONDS = 0.2
"""How soon to look again after somebody else was quicker."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reconciler:
    """What a pass needs; `clock` gives the time of day, with its zone."""

    api: ClusterApi
    indices: Indices
    queue: WorkQueue
    settings: Settings
    metrics: Metrics
    clock: Callable[[], datetime]

    async def reconcile(self, key: Key) -> None:
        """Brings one job closer to what is wanted, once."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.settings.reconcile_seconds):
                outcome = await self._pass(key)
        except Changed as change:
            _log.info("%s/%s: %s", *key, change)
            self.queue.add(key, _CHANGED_SECONDS)
            outcome = "changed"
        except Exception:
            self.metrics.reconciled("error", time.monotonic() - began)
            raise
        self.metrics.reconciled(outcome, time.monotonic() - began)

    async def _pass(self, key: Key) -> str:
        observed = await observe(self.api, self.indices, key)
        if observed is None:
            self.metrics.forget(key)
            return "gone"
        now = self.clock()
        decision = decide(observed, now, self.settings)
        status = decision.status or observed.job.status
        self.metrics.phase(key, status.phase or "Queued")
        if decision.look_again is not None:
            self.queue.add(key, max(0.0, (decision.look_again - now).total_seconds()))
        if decision.status is not None and observed.job.status.phase != decision.status.phase:
            _log.info("%s/%s: %s: %s", *key, decision.status.phase, decision.status.message)
        await apply(self.api, observed.job, decision, now)
        return "written" if decision.status or decision.create or decision.delete else "unchanged"
