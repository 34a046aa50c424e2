"""The node: a mount, a network and a process namespace, and a wire between them and this machine.

Programs inside find the usual paths (/var/lib/kubelet, /run/containerd, …), all of them the
cluster's own. There is no way out but the wire: a pod that asks for the internet is refused at once.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.layout import NODE_LINK, PREFIX, SERVICES, Layout
from tests.cluster.polling import wait_until

INIT = Path(__file__).with_name("init.sh")
START_SECONDS = 20.0
COMMAND_SECONDS = 600.0


class CommandFailed(Exception):
    """A command that makes the cluster failed; the message ends with what it wrote."""


@dataclass(frozen=True)
class Node:
    """The namespaces of one cluster; `start` makes them, and they last until `kill`."""

    layout: Layout

    @property
    def init(self) -> Daemon:
        return Daemon("node", self.layout.logs)

    def start(self) -> None:
        """Make the namespaces and the wire, unless they are there."""
        if self.init.pid is None:
            self.layout.containerd.mkdir(parents=True, exist_ok=True)
            namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--propagation=private"]
            self.init.start([*namespaces, "sh", str(INIT), str(self.layout.state), str(self.layout.containerd)])
        wait_until("the node is made", self._unmade, START_SECONDS)
        if not self._wired():
            self._wire()

    def kill(self) -> None:
        """End every process of the node, containers included; what it mounted or linked goes with it."""
        self.init.kill()
        # The kernel takes the link away a moment after the last process: the next node must not take it for its own.
        wait_until("the link of the node is gone", lambda: "it is there" if self._wired() else None, START_SECONDS)

    def command(self, *command: str) -> list[str]:
        """The command that runs `command` in the node."""
        pid = self.init.pid
        if pid is None:
            raise CommandFailed(f"the node of {self.layout.state} does not run")
        return ["nsenter", f"--target={pid}", "--mount", "--net", "--pid", "--", *command]

    def run(self, *command: str, stdin: bytes | None = None) -> str:
        """What a command in the node prints; raises CommandFailed with all of it."""
        return run(self.command(*command), stdin)

    def file(self, name: str, text: str) -> Path:
        """A file that a program is configured with; it is not touched when it says so already."""
        path = self.layout.configuration / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return path

    def daemon(self, name: str, *command: str) -> Daemon:
        """Start a program in the node, unless it runs."""
        daemon = Daemon(name, self.layout.logs)
        if daemon.pid is None:
            daemon.start(self.command(*command))
        return daemon

    def _unmade(self) -> str | None:
        self.init.require()
        done = subprocess.run(self.command("test", "-e", "/run/node-ready"), capture_output=True, check=False)
        return None if done.returncode == 0 else self.init.tail()

    def _wired(self) -> bool:
        return Path(f"/sys/class/net/{self.layout.host_link}").exists()

    def _wire(self) -> None:
        layout = self.layout
        end = ["name", NODE_LINK, "netns", str(self.init.pid)]
        run(["ip", "link", "add", layout.host_link, "type", "veth", "peer", *end])
        run(["ip", "address", "add", f"{layout.host_address}/{PREFIX}", "dev", layout.host_link])
        run(["ip", "link", "set", layout.host_link, "up"])
        self.run("ip", "address", "add", f"{layout.node_address}/{PREFIX}", "dev", NODE_LINK)
        self.run("ip", "link", "set", NODE_LINK, "up")
        # The node's own processes need some route to a service's address before it is rewritten.
        self.run("ip", "route", "add", SERVICES, "via", layout.host_address)


def run(command: list[str], stdin: bytes | None = None) -> str:
    """What a command prints; raises CommandFailed with all of it when it fails."""
    # No input is an empty one: a command that asks for something must not wait for a terminal.
    done = subprocess.run(command, input=stdin or b"", capture_output=True, check=False, timeout=COMMAND_SECONDS)
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise CommandFailed(f"`{' '.join(command)}` ended with status {done.returncode}:\n{output}")
    return done.stdout.decode()
