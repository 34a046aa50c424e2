"""Programs that run beside the tests: each writes to a log file, and none outlives its block."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 10.0
LOG_LINES = 25
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Running:
    """One started program and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> str | None:
        """What there is to say when the program ended by itself; None while it runs."""
        status = self.process.poll()
        return None if status is None else f"{self.name} ended with status {status}"

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"--- the last lines of {self.log}", *lines])


@contextmanager
def running(program: Path, arguments: list[str], log: Path) -> Iterator[Running]:
    """Start a program, and end it with the block, however the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C is for pytest alone: it ends the programs itself, in order.
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
    try:
        yield Running(program.name, process, log)
    finally:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Free TCP ports of the loopback, kept from everybody who does not ask to share a port.

    A port that is picked and let go can be taken by another test run before the program binds it.
    These stay bound, without listening, for as long as the block runs; the program that is meant
    to have one binds it as well, with SO_REUSEPORT.
    """
    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            ports.append(int(holder.getsockname()[1]))
        yield ports


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the program, so that a killed pytest leaves nothing.

    Linux alone has it; elsewhere a kill -9 of pytest leaves the programs running.
    """
    if sys.platform != "linux":
        return None
    # Loaded here and not in the child: after a fork, only what needs no lock is safe.
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask
