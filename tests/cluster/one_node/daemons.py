"""Programs that go on when the command that started them has ended, each with a pid file and a log.

They are started by `unshare` or `nsenter`, which fork: the program is their child.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.polling import wait_until

LOG_LINES = 25
SECONDS = 20.0


class DaemonEnded(Exception):
    """A program ended that should run; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Daemon:
    """One program, known by `name` in the folder of logs."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process, unless it has ended; a number that the kernel gave to another is not it."""
        try:
            pid, start = (self.folder / f"{self.name}.pid").read_text().split()
        except FileNotFoundError:
            return None
        return int(pid) if _start(int(pid)) == start else None

    def start(self, forking_command: list[str]) -> None:
        """Start it unless it runs. Raises DaemonEnded when the command ends before it forks."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            parent = subprocess.Popen(
                forking_command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

        def missing() -> str | None:
            if parent.poll() is not None:
                raise DaemonEnded(f"`{' '.join(forking_command)}` ended with status {parent.returncode}\n{self.tail()}")
            child = _only_child(parent.pid)
            start = None if child is None else _start(child)
            if start is None:
                return "nothing is forked"
            (self.folder / f"{self.name}.pid").write_text(f"{child} {start}")
            return None

        wait_until(f"{self.name} runs", missing, SECONDS)

    def require(self) -> None:
        """Raises DaemonEnded unless it runs."""
        if self.pid is None:
            raise DaemonEnded(f"{self.name} has ended\n{self.tail()}")

    def kill(self) -> None:
        """End it at once, and return when it is gone."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGKILL)
            wait_until(f"{self.name} has ended", lambda: None if self.pid is None else "it runs", SECONDS)

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"--- the last lines of {self.log}", *lines])


def _only_child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def _start(pid: int) -> str | None:
    """When the process began, in clock ticks since boot; None when it has ended."""
    try:
        # The name, which may hold spaces, ends with the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, start = fields[0], fields[19]
    return None if state in "ZX" else start
