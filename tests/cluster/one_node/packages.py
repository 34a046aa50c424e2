"""The Debian packages that the cluster needs; installed where they are missing and this is root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping

# A program of each package: what is here already, from wherever, is not installed.
NEEDED: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
}


class PackagesMissing(Exception):
    """Programs are not here and cannot be installed; the message names their Debian packages."""


def missing_packages() -> list[str]:
    return sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})


def install_missing(say: Callable[[str], None]) -> None:
    """Raises PackagesMissing where there is no apt-get, or it fails."""
    packages = missing_packages()
    if not packages:
        return
    named = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise PackagesMissing(f"there is no apt-get here to install {named}")
    say(f"installing Debian packages: {named}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "--quiet"], install):
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        if done.returncode != 0:
            raise PackagesMissing(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")
