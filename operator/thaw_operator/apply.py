"""Carrying out a decision: the status first, then what is unwanted, then what is missing, then the Events."""

import logging
from datetime import datetime

from thaw_operator.cluster_api import ClusterApi
from thaw_operator.decide.decision import Decision
from thaw_operator.notices import event_of
from thaw_operator.observed import Job

_log = logging.getLogger(__name__)


async def apply(api: ClusterApi, job: Job, decision: Decision, now: datetime) -> None:
    """Sends what a decision wants; each request is safe to send again.

    Raises:
        Changed: the decision was made from what is no longer so.
        Refused: the apiserver refuses a request.
    """
    if decision.status is not None:
        await api.apply_status(job, decision.status)
    for child in decision.delete:
        await api.delete(job.key, child)
    for manifest in decision.create:
        await api.create(manifest)
    for notice in decision.notices:
        try:
            await api.post_event(event_of(job, notice, now))
        except Exception:  # an Event is a courtesy: the status says the same
            _log.warning("an Event could not be posted", exc_info=True)
