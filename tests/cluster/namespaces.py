"""A namespace for one test, and what tests do in it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until

DELETE_SECONDS = 90
# Each look is a start of kubectl, which is not free.
PAUSE = 0.5
ENFORCE = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Namespace:
    """kubectl in one namespace."""

    api: Api
    name: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What it prints; raises KubectlError when it fails."""
        return self.api.kubectl(f"--namespace={self.name}", *arguments, input=stdin).stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        document = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(document))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.kubectl("get", kind, name, "-o", "json")))

    def wait_for(self, kind: str, name: str, path: tuple[str, ...], wanted: set[str], seconds: float) -> str:
        """Until the field at `path` has one of the wanted values, which is returned."""
        seen = ""

        def missing() -> str | None:
            nonlocal seen
            node: Any = self.get(kind, name)
            for part in path:
                node = node.get(part, {})
            seen = node if isinstance(node, str) else ""
            return None if seen in wanted else repr(seen)

        wait_until(f"{kind}/{name} has {'.'.join(path)} in {sorted(wanted)}", missing, seconds, PAUSE)
        return seen


@contextmanager
def namespace_of(api: Api) -> Iterator[Namespace]:
    """A new namespace under the restricted Pod Security Standard; all in it is gone after the block."""
    name = f"test-{secrets.token_hex(4)}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": ENFORCE}}
    api.kubectl("create", "-f", "-", input=json.dumps(manifest))
    try:
        yield Namespace(api, name)
    finally:
        api.kubectl("delete", "namespace", name, f"--timeout={DELETE_SECONDS}s")
