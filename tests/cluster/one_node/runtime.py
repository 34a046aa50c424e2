"""containerd: runs the pods' containers and keeps their images."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.node import CommandFailed, Node
from tests.cluster.polling import wait_until

SOCKET = "/run/containerd/containerd.sock"
# Debian's; other systems put them into /opt/cni/bin.
NETWORK_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
# Where containerd keeps the images and containers of Kubernetes.
NAMESPACE = "k8s.io"
START_SECONDS = 30.0

CONFIGURATION = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# The first would make a folder /opt/containerd; the others need what this machine need not have.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# A process may not lower its score below its parent's without a capability that this one may lack.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def start_containerd(node: Node, pause_image: str, network: Path) -> Daemon:
    """Start it unless it runs; `network` is the folder of the network's configuration."""
    daemon = Daemon("containerd", node.layout.logs)
    if daemon.pid is not None:
        return daemon
    plugins = next((folder for folder in NETWORK_PLUGINS if (folder / "bridge").exists()), None)
    if plugins is None:
        raise CommandFailed(f"the network plugin `bridge` is in none of {', '.join(map(str, NETWORK_PLUGINS))}")
    text = CONFIGURATION.format(socket=SOCKET, pause=pause_image, plugins=plugins, network=network)
    file = node.file("containerd.toml", text)
    node.daemon("containerd", "containerd", f"--config={file}")

    def missing() -> str | None:
        daemon.require()
        try:
            ctr(node, "version")
        except CommandFailed as error:
            return str(error)
        return None

    wait_until("containerd answers", missing, START_SECONDS)
    _forget_containers(node)
    return daemon


def ctr(node: Node, *arguments: str, stdin: bytes | None = None) -> str:
    """containerd's own command, about what Kubernetes has in it."""
    return node.run("ctr", f"--address={SOCKET}", f"--namespace={NAMESPACE}", *arguments, stdin=stdin)


def _forget_containers(node: Node) -> None:
    """The last cluster's containers ended with it, but containerd has kept their records and files."""
    if containers := ctr(node, "containers", "list", "--quiet").split():
        ctr(node, "containers", "delete", *containers)
