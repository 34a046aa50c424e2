"""A Ray cluster of several raylets on this machine, as KubeRay makes one of several pods: a head that trains nothing,
and workers, with a token."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.polling import wait_until
from thaw_api.contract import HEAD_RESOURCE

RAY = Path(sys.executable).parent / "ray"
START_SECONDS = 90.0
OBJECT_STORE_BYTES = 100_000_000
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class RayCluster:
    """A running cluster; `environment` is that of a process in one of its pods."""

    environment: dict[str, str]


@contextmanager
def ray_cluster(folder: Path, workers: int, cpus: int) -> Iterator[RayCluster]:
    """Runs a head, and workers of `cpus` each, for as long as the block runs."""
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with ExitStack() as stack:
        port = _free_port()
        address = f"127.0.0.1:{port}"
        environment["RAY_ADDRESS"] = address
        temporary = folder / "ray"
        head = [
            "--head",
            f"--port={port}",
            "--num-cpus=0",
            f'--resources={{"{HEAD_RESOURCE}": 1000}}',
            "--include-dashboard=false",
            f"--temp-dir={temporary}",
        ]
        stack.enter_context(_raylet(head, environment, folder / "head.log"))
        _await_start(folder / "head.log")
        for number in range(workers):
            worker = [f"--address={address}", f"--num-cpus={cpus}"]
            log = folder / f"worker-{number}.log"
            stack.enter_context(_raylet(worker, environment, log))
            # One after the other: two that start at once take each other's ports.
            _await_start(log)
        yield RayCluster(environment)


@contextmanager
def _raylet(arguments: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """`ray start` and all that it starts, for as long as the block runs."""
    command = [str(RAY), "start", "--block", f"--object-store-memory={OBJECT_STORE_BYTES}", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


def _await_start(log: Path) -> None:
    """Until Ray says that it has started."""

    def missing() -> str | None:
        text = log.read_text(encoding="utf-8")
        return None if "Ray runtime started" in text else f"{log} ends with {text[-500:]}"

    wait_until("Ray has started", missing, START_SECONDS)


def _free_port() -> int:
    """A port that is free now: Ray does not share one that somebody keeps for it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])
