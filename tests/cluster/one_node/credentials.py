"""Who is who in the cluster: one authority, a server certificate each, a kubeconfig for each client."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certificates import Authority, KeyPair, signing_keys
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.one_node.layout import API_PORT, API_SERVICE, DOMAIN, NODE_NAME, Layout

# A cluster that somebody works with stays up for days.
VALID = datetime.timedelta(days=90)
LOCAL = "127.0.0.1"
# RBAC's built-in bindings know these users and groups.
CLIENTS = {
    "kube-controller-manager": ("system:kube-controller-manager", []),
    "kube-scheduler": ("system:kube-scheduler", []),
    "kube-proxy": ("system:kube-proxy", []),
    "kubelet": (f"system:node:{NODE_NAME}", ["system:nodes"]),
}


@dataclass(frozen=True)
class Credentials:
    """Files that exist once `made` has run."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def tokens(self) -> KeyPair:
        """What service-account tokens are checked and signed with."""
        return KeyPair(self.folder / "service-accounts.pub", self.folder / "service-accounts.key")

    def pair(self, name: str) -> KeyPair:
        return KeyPair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def kubeconfig(self, client: str) -> Path:
        return self.folder / f"{client}.kubeconfig"


def made(layout: Layout) -> Credentials:
    """Make all of them, unless they are there."""
    credentials = Credentials(layout.pki)
    if layout.kubeconfig.exists():
        return credentials
    layout.pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = Authority.new(layout.pki, datetime.datetime.now(datetime.UTC), VALID)
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    authority.server("apiserver", [LOCAL, layout.node_address, API_SERVICE], ["localhost", *service])
    authority.server("kubelet-server", [layout.node_address], [NODE_NAME])
    authority.client("apiserver-kubelet-client", user="kube-apiserver", groups=["system:masters"])
    signing_keys(layout.pki, "service-accounts")
    for client, (user, groups) in CLIENTS.items():
        pair = authority.client(client, user=user, groups=groups)
        write_kubeconfig(credentials.kubeconfig(client), f"https://{LOCAL}:{API_PORT}", authority, pair)
    admin = authority.client("admin", user="thaw-test-admin", groups=["system:masters"])
    # The last file: what was cut off before it is made anew.
    write_kubeconfig(layout.kubeconfig, layout.url, authority, admin)
    return credentials
