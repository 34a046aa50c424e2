"""The cgroup above all pods: one folder in each hierarchy of version 1, or one in all for version 2."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Where the cgroups are made."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [folder for folder in sorted(ROOT.iterdir()) if folder.is_dir() and not folder.is_symlink()]


def make_cgroup(name: str) -> None:
    for folder in hierarchies():
        (folder / name).mkdir(exist_ok=True)
        if (limits := folder / name / "cpuset.cpus").exists() and not limits.read_text().strip():
            # A new cpuset of version 1 is empty, and no process can enter it.
            for file in ("cpuset.cpus", "cpuset.mems"):
                (folder / name / file).write_text((folder / file).read_text())


def remove_cgroup(name: str) -> None:
    """With all below it; their processes have ended."""
    for folder in hierarchies():
        if (folder / name).exists():
            for below in sorted((folder / name).rglob("*/"), reverse=True):
                if below.is_dir():
                    below.rmdir()
            (folder / name).rmdir()
