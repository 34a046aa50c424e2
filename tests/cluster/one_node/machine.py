"""What a cluster could leave behind on this machine: seen before, seen after, compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cluster.one_node.cgroups import hierarchies

# The kubelet sets the first five for the whole machine; the others are what forwarding needs.
SETTINGS = (
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
)
RULES = ("iptables-save", "ip6tables-save")


@dataclass(frozen=True)
class Machine:
    """A machine's state, as far as a cluster could change it."""

    links: list[str]
    routes: list[str]
    mounts: list[str]
    rules: list[str]
    settings: dict[str, str]
    cgroups: list[str]

    @classmethod
    def now(cls) -> Machine:
        return cls(
            links=sorted(path.name for path in Path("/sys/class/net").iterdir()),
            routes=sorted(Path("/proc/net/route").read_text().splitlines()),
            mounts=sorted(line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
            rules=[rule for command in RULES for rule in _rules(command)],
            settings={name: _setting(name).read_text() for name in SETTINGS if _setting(name).exists()},
            cgroups=sorted(str(path) for folder in hierarchies() for path in folder.iterdir() if path.is_dir()),
        )

    @classmethod
    def read(cls, file: Path) -> Machine:
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2))

    def changes(self, after: Machine) -> list[str]:
        """A line for each thing that is there after and was not before, or the other way round."""
        changes = []
        for kind in ("links", "routes", "mounts", "rules", "cgroups"):
            before_lines, after_lines = getattr(self, kind), getattr(after, kind)
            changes += [f"{kind}: left behind: {line}" for line in after_lines if line not in before_lines]
            changes += [f"{kind}: gone: {line}" for line in before_lines if line not in after_lines]
        for name, value in self.settings.items():
            if (now := after.settings.get(name)) != value:
                changes.append(f"settings: {name} was {value.strip()}, is {(now or 'gone').strip()}")
        return changes

    def restore_settings(self) -> None:
        """Set what the kubelet sets for the whole machine to what it was."""
        for name, value in self.settings.items():
            if _setting(name).read_text() != value:
                _setting(name).write_text(value)


def processes_of(state: Path, cgroup: str, node_namespace: str | None) -> list[str]:
    """A line for each process of a cluster, but this one and its parents.

    One is known by the cluster's folder in its command, by the mount namespace of the node (`mnt:[…]`),
    or, in a container, by its cgroup.
    """
    own = _ancestors(os.getpid())
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in own:
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            namespace = os.readlink(process / "ns" / "mnt")
            cgroups = (process / "cgroup").read_text()
        except OSError:
            continue
        if namespace == node_namespace or str(state) in command or f"/{cgroup}/" in cgroups:
            found.append(f"processes: left behind: {process.name} {command}")
    return found


def _ancestors(pid: int) -> set[int]:
    found = set()
    while pid:
        found.add(pid)
        status = Path(f"/proc/{pid}/status").read_text()
        parent = re.search(r"^PPid:\s*(\d+)", status, re.M)
        pid = int(parent[1]) if parent else 0
    return found


def _rules(command: str) -> list[str]:
    """The packet filter's rules, without comments and counters."""
    try:
        output = subprocess.run([command], capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        return []
    lines = (re.sub(r"\[\d+:\d+\]", "", line).strip() for line in output.splitlines())
    return [f"{command}: {line}" for line in lines if line and not line.startswith("#")]


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name
