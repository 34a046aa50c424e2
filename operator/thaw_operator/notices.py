"""Events on a job, as manifests."""

from datetime import datetime
from typing import Any

from thaw_api.contract import OPERATOR_MANAGER
from thaw_api.job import API_VERSION, KIND
from thaw_operator.decide.decision import Notice
from thaw_operator.moments import format_moment
from thaw_operator.observed import Job


def event_of(job: Job, notice: Notice, now: datetime) -> dict[str, Any]:
    """A core/v1 Event about the job."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{job.key.name}.", "namespace": job.key.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": job.key.namespace,
            "name": job.key.name,
            "uid": job.uid,
            "resourceVersion": job.resource_version,
        },
        "type": "Warning" if notice.warning else "Normal",
        "reason": notice.reason,
        "message": notice.message,
        "source": {"component": OPERATOR_MANAGER},
        "reportingComponent": OPERATOR_MANAGER,
        "firstTimestamp": format_moment(now),
        "lastTimestamp": format_moment(now),
        "count": 1,
    }
