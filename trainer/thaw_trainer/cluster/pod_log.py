"""The driver's lines in its pod's log.

Ray keeps what a driver prints in a file of the head. `kubectl logs`, and whatever collects the logs of a cluster, reads
what the container's first process prints: so the lines go there too.
"""

import os
import sys
from contextlib import suppress
from io import TextIOBase
from pathlib import Path
from typing import TextIO

FIRST_PROCESS = Path("/proc/1/fd/1")


class Both(TextIOBase):
    """Text that goes to the driver's own output and to the pod's; the pod's may fail at any time."""

    def __init__(self, own: TextIO, pod: TextIO) -> None:
        self._own, self._pod = own, pod

    def write(self, text: str) -> int:
        """See TextIOBase."""
        with suppress(OSError, ValueError):  # the pod's log is a courtesy: Ray's file has it all
            self._pod.write(text)
        return self._own.write(text)

    def flush(self) -> None:
        """See TextIOBase."""
        with suppress(OSError, ValueError):
            self._pod.flush()
        self._own.flush()


def also_to_pod(first_process: Path = FIRST_PROCESS) -> None:
    """From now on, what is printed goes to the pod's log as well; outside of a pod, nothing changes."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return
    try:
        pod = first_process.open("w", encoding="utf-8", errors="replace")
    except OSError:
        return
    sys.stdout = Both(sys.stdout, pod)
