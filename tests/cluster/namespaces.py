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
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}
SESSION_LABEL = "thaw.test/session"
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


@dataclass(frozen=True)
class Namespaces:
    """The namespaces of a test session."""

    api: Api
    session: str

    @contextmanager
    def one(self) -> Iterator[Namespace]:
        """A new namespace under the restricted Pod Security Standard. All in it is being deleted after the block, which
        nobody waits for: pods that have still to end ask for little, and the next test has a namespace of its own."""
        name = f"test-{secrets.token_hex(4)}"
        metadata = {"name": name, "labels": ENFORCE | {SESSION_LABEL: self.session}}
        self.api.kubectl("create", "-f", "-", input=json.dumps(NAMESPACE | {"metadata": metadata}))
        try:
            yield Namespace(self.api, name)
        finally:
            self.api.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def namespaces_of(api: Api) -> Iterator[Namespaces]:
    """Namespaces that are all gone after the block."""
    made = Namespaces(api, secrets.token_hex(4))
    yield made
    api.kubectl("delete", "namespace", f"--selector={SESSION_LABEL}={made.session}", f"--timeout={DELETE_SECONDS}s")
