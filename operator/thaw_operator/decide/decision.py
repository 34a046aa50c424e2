"""What `decide` returns: a value that `apply` carries out in the order of its fields."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from thaw_api.status import FineTuneJobStatus
from thaw_operator.observed import Child


class Notice(NamedTuple):
    """An Event on the job."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """What is wanted now."""

    status: FineTuneJobStatus | None = None
    """The operator's whole part of the status; None: as it is. Written first, so that an attempt's number is known
    before anything of it exists."""
    delete: tuple[Child, ...] = ()
    """Children that are not wanted any more."""
    create: tuple[dict[str, Any], ...] = ()
    """Children that are wanted and missing, whole manifests, in this order."""
    notices: tuple[Notice, ...] = ()
    look_again: datetime | None = None
    """When time alone may change the decision."""
