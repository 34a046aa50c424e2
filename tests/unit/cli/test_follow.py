"""Following a job on a cluster: what ends it, and what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from kubernetes import client
from urllib3.exceptions import ProtocolError

from thaw_cli.kube import jobs as module
from thaw_cli.kube.jobs import Body, Jobs, NoSuchJob, Unreachable

Line = dict[str, Any] | Exception


def job(phase: str) -> Body:
    return {"metadata": {"name": "sections", "resourceVersion": "7"}, "status": {"phase": phase}}


def event(kind: str, phase: str) -> Line:
    return {"type": kind, "object": job(phase)}


class Watch:
    """An answer whose lines come one by one; an error is raised where it stands."""

    status = 200

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        for line in self._lines:
            if isinstance(line, Exception):
                raise line
            yield json.dumps(line).encode() + b"\n"

    def close(self) -> None:
        pass

    def release_conn(self) -> None:
        pass


class Server:
    """Answers reads and watches with what it is given, in this order."""

    def __init__(self, reads: list[Body | Exception], watches: list[list[Line]]) -> None:
        self._reads, self._watches = iter(reads), iter(watches)

    def get_namespaced_custom_object(self, *_: Any, **__: Any) -> Body:
        found = next(self._reads)
        if isinstance(found, Exception):
            raise found
        return found

    def list_namespaced_custom_object(self, *_: Any, **__: Any) -> Watch:
        return Watch(next(self._watches))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.0)


def phases(server: Server, seen: list[str]) -> None:
    """Follows the job to its end, or to an error; `seen` gets each phase."""
    followed = Jobs(cast(client.CustomObjectsApi, server), cast(client.CoreV1Api, None), "default")
    for found in followed.follow("sections"):
        seen.append(found["status"]["phase"])
        if seen[-1] == "Succeeded":
            return


@pytest.mark.parametrize(
    "break_off",
    [
        ProtocolError("Connection broken", ConnectionResetError()),
        {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old resource version"}},
    ],
    ids=["the connection is reset", "the version is too old"],
)
def test_a_watch_that_breaks_off_is_opened_anew(break_off: Line) -> None:
    server = Server(
        [job("Queued"), job("Running")],
        [[event("MODIFIED", "Starting"), break_off], [event("MODIFIED", "Succeeded")]],
    )
    seen: list[str] = []
    phases(server, seen)
    assert seen == ["Queued", "Starting", "Running", "Succeeded"]


def test_a_job_that_is_deleted_ends_it() -> None:
    seen: list[str] = []
    with pytest.raises(NoSuchJob, match="sections was deleted"):
        phases(Server([job("Running")], [[event("DELETED", "Running")]]), seen)
    assert seen == ["Running"]


def test_a_cluster_that_cannot_be_reached_ends_it() -> None:
    broken = ProtocolError("Connection broken", ConnectionResetError())
    with pytest.raises(Unreachable, match="cannot be reached"):
        phases(Server([job("Running"), broken], [[broken]]), [])
