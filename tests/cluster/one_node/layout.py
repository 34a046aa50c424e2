"""Where the cluster's files lie, and which addresses it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "thaw-node"
NODE_LINK = "eth0"
API_PORT = 6443
PREFIX = 30
SERVICES = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
PODS = "10.244.0.0/24"
DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Layout:
    """Names, folders and addresses of one cluster; two of different `index` can run side by side.

    `state` is removed with the cluster. `cache` outlives it: programs, images, what containerd
    has unpacked.
    """

    name: str
    index: int
    state: Path
    cache: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Layout:
        """The cluster of `make cluster-up`."""
        home = environ.get("HOME") or str(Path.home())
        state = Path(environ.get("XDG_STATE_HOME") or f"{home}/.local/state")
        cache = Path(environ.get("XDG_CACHE_HOME") or f"{home}/.cache")
        return cls("thaw-test", 0, state / "thaw" / "cluster", cache / "thaw")

    @property
    def host_link(self) -> str:
        """This machine's end of the wire to the node."""
        return f"thaw{self.index}"

    # 198.18.0.0/15 is for tests between devices (RFC 2544): no machine's own network uses it.
    @property
    def host_address(self) -> str:
        return f"198.18.{self.index}.1"

    @property
    def node_address(self) -> str:
        return f"198.18.{self.index}.2"

    @property
    def url(self) -> str:
        return f"https://{self.node_address}:{API_PORT}"

    @property
    def cgroup(self) -> str:
        """Above the cgroups of all pods."""
        return self.name

    @property
    def kubeconfig(self) -> Path:
        """An administrator's; it needs no other file."""
        return self.state / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON event a line for each request, level Metadata."""
        return self.state / "audit.log"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def configuration(self) -> Path:
        """The files that programs are configured with."""
        return self.state / "etc"

    @property
    def volumes(self) -> Path:
        """A folder for each PersistentVolume."""
        return self.state / "volumes"

    @property
    def before(self) -> Path:
        """How the machine was before the cluster was started."""
        return self.state / "machine-before.json"

    @property
    def containerd(self) -> Path:
        """containerd's content and snapshots."""
        return self.cache / "containerd"

    @property
    def images(self) -> Path:
        """What is needed to build images."""
        return self.cache / "images"
