"""What the audit log says of the requests in a namespace that change something."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_CHANGES = ("create", "update", "patch", "delete")


class Change(NamedTuple):
    """A request: who sent it (without the namespace of an account), what, and the HTTP status of the answer."""

    account: str
    verb: str
    resource: str
    status: int


def changes(log: Path, namespace: str) -> Iterator[Change]:
    """In the order of their answers."""
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        about = event.get("objectRef", {})
        if about.get("namespace") != namespace or event["stage"] != "ResponseComplete" or event["verb"] not in _CHANGES:
            continue
        account = event["user"]["username"].rpartition(":")[2]
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        yield Change(account, event["verb"], resource, event["responseStatus"]["code"])


def counted(log: Path, namespace: str) -> Counter[tuple[str, str, str]]:
    """How many, by account, verb and resource."""
    return Counter(change[:3] for change in changes(log, namespace))
