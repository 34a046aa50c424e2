"""A kubeconfig for one user of one server."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.cluster.certificates import Authority, KeyPair


def write_kubeconfig(path: Path, url: str, authority: Authority, user: KeyPair) -> None:
    """JSON, which is YAML; the certificates are inside, so that the file can be moved alone."""

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    credentials = {"client-certificate-data": data(user.public), "client-key-data": data(user.private)}
    cluster = {"server": url, "certificate-authority-data": data(authority.path)}
    context = {"cluster": "thaw-test", "user": "admin", "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "thaw-test", "cluster": cluster}],
        "users": [{"name": "admin", "user": credentials}],
        "contexts": [{"name": "thaw-test", "context": context}],
        "current-context": "thaw-test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=2))
