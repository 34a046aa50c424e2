"""The programs beside the tests end with the tests, and say why when they end before."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cluster.control_plane import StartFailed, control_plane
from tests.cluster.processes import Running, reserved_ports, running


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_a_program_ends_with_its_block_even_if_the_block_fails(tmp_path: Path) -> None:
    program = script(tmp_path / "server", "exec tail -f /dev/null")
    seen: list[Running] = []

    def block() -> None:
        with running(program, [], tmp_path / "log") as server:
            seen.append(server)
            assert server.ended() is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert seen[0].ended() is not None


def test_a_reserved_port_is_free_for_its_program_alone() -> None:
    with reserved_ports(2) as ports, socket.socket() as stranger, socket.socket() as program:
        assert len(set(ports)) == 2
        with pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", ports[0]))
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        program.bind(("127.0.0.1", ports[0]))
        program.listen()
        socket.create_connection(("127.0.0.1", ports[0])).close()


def test_a_control_plane_that_cannot_start_says_what_its_program_wrote(tmp_path: Path) -> None:
    etcd = script(tmp_path / "etcd", "echo the disk is full; exit 3")
    with (
        pytest.raises(StartFailed, match=r"etcd ended with status 3\n(.*\n)*the disk is full"),
        control_plane(etcd, etcd, tmp_path),
    ):
        pass


def test_a_control_plane_that_never_answers_is_given_up(tmp_path: Path) -> None:
    etcd = script(tmp_path / "etcd-that-hangs", "exec tail -f /dev/null")
    with (
        pytest.raises(StartFailed, match=r"etcd-that-hangs serves /health: not within 0\.1 s.*refused"),
        control_plane(etcd, etcd, tmp_path, seconds=0.1),
    ):
        pass
