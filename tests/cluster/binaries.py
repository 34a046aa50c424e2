"""Find the programs of a Kubernetes cluster, or build them from pinned Go modules.

    python tests/cluster/binaries.py etcd kube-apiserver kubectl

prints one path a line on standard output, and what it does meanwhile on standard error. A program
is taken from `$KUBEBUILDER_ASSETS`, else from PATH, else it is built from the modules in
`tests/cluster/go` into a cache outside the checkout, once for each content of those modules.
To move to another version: edit the module's go.mod, then `GOFLAGS=-mod=mod go mod tidy` beside it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "go"
ERROR_LINES = 20
KUBERAY = "github.com/ray-project/kuberay/ray-operator"
OWN = "thaw.dev/tests/cluster"


class BinaryError(Exception):
    """A program cannot be had; the message says what is missing and what would provide it."""


class UnknownProgram(BinaryError):
    """No Go module is pinned for that name."""


class GoMissing(BinaryError):
    """The program has to be built, and there is no Go to build it with."""


class BuildFailed(BinaryError):
    """`go build` failed; the message ends with the last lines that it printed."""


@dataclass(frozen=True)
class Program:
    """A pinned main package: its folder under `modules`, its module, its import path.

    `stamp` is the Go package that holds the version a Kubernetes program reports: a build that
    leaves it empty calls itself v0.0.0, which clients refuse to compare with.
    """

    name: str
    folder: str
    module: str
    package: str
    stamp: str | None = None


def _kubernetes(name: str) -> Program:
    module = "k8s.io/kubernetes"
    return Program(name, "kubernetes", module, f"{module}/cmd/{name}", "k8s.io/component-base/version")


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-proxy"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubectl"),
        _kubernetes("kubelet"),
        Program("coredns", "coredns", "github.com/coredns/coredns", "github.com/coredns/coredns"),
        Program("kuberay-operator", "kuberay", KUBERAY, KUBERAY),
        Program("helm", "helm", "helm.sh/helm/v3", "helm.sh/helm/v3/cmd/helm"),
        Program("pause", "pause", f"{OWN}/pause", f"{OWN}/pause"),
    )
}


@dataclass(frozen=True)
class Finder:
    """Where programs come from. `say` gets one line for each thing that takes long."""

    environ: Mapping[str, str]
    say: Callable[[str], None]
    modules: Path = MODULES

    def find(self, name: str) -> Path:
        """The path of an executable file; raises BinaryError when there is no way to have one."""
        try:
            program = PROGRAMS[name]
        except KeyError:
            known = ", ".join(sorted(PROGRAMS))
            raise UnknownProgram(f"{name}: no module is pinned for it; known are {known}") from None
        return self._given(name) or self._built(program)

    def module(self, name: str) -> Path:
        """The folder of the pinned module that a program comes from, with its other files."""
        program = PROGRAMS[name]
        folder = self.modules / program.folder
        go = self._go(program, (folder / "go.mod").read_text())
        self._run(folder, go, "mod", "download", program.module)
        return Path(self._run(folder, go, "list", "-m", "-f", "{{.Dir}}", program.module).strip())

    def _given(self, name: str) -> Path | None:
        places = (self.environ.get("KUBEBUILDER_ASSETS"), self.environ.get("PATH"))
        for place in filter(None, places):
            if found := shutil.which(name, path=place):
                return Path(found).absolute()
        return None

    def _built(self, program: Program) -> Path:
        folder = self.modules / program.folder
        pins = (folder / "go.mod").read_text()
        go = self._go(program, pins)
        flags = build_flags(program, pins)
        version = self._run(folder, go, "version")
        key = cache_key(folder, [*flags, program.package], version)
        target = self.cache / f"{program.name}-{key}" / program.name
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(target.parent / "lock", program.name):
            # Whoever held the lock before may have built it meanwhile.
            if not target.exists():
                self._build(program, folder, [go, "build", *flags], target)
        return target

    def _go(self, program: Program, pins: str) -> str:
        go = shutil.which("go", path=self.environ.get("PATH", ""))
        if go is None:
            raise GoMissing(
                f"{program.name} is neither in $KUBEBUILDER_ASSETS nor on PATH, and go is not on "
                f"PATH to build it: install Go {_go_line(pins)}+ or set KUBEBUILDER_ASSETS to a "
                f"folder that holds {program.name}"
            )
        return go

    @property
    def cache(self) -> Path:
        home = self.environ.get("HOME") or str(Path.home())
        return Path(self.environ.get("XDG_CACHE_HOME") or f"{home}/.cache") / "thaw" / "binaries"

    def _build(self, program: Program, folder: Path, command: list[str], target: Path) -> None:
        self.say(f"{program.name}: building {program.package} (minutes, once)")
        begin = time.monotonic()
        part = target.with_suffix(".part")
        self._run(folder, *command, "-o", str(part), program.package)
        # A rename is atomic: a build that is cut off leaves no half-written program behind.
        part.replace(target)
        self.say(f"{program.name}: built in {time.monotonic() - begin:.0f} s")

    def _run(self, folder: Path, *command: str) -> str:
        environ = {**self.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-ERROR_LINES:])
            raise BuildFailed(f"`{' '.join(command)}` in {folder} failed:\n{tail}")
        return done.stdout

    @contextmanager
    def _locked(self, path: Path, name: str) -> Iterator[None]:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.say(f"{name}: waiting for another run that builds it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def build_flags(program: Program, pins: str) -> list[str]:
    """The flags of `go build`; the stamped version is the one that go.mod (`pins`) requires."""
    ldflags = "-s -w"
    if program.stamp is not None:
        pinned = re.search(rf"^(?:require)?\s*{re.escape(program.module)} (v\S+)", pins, re.M)
        if pinned is None:
            raise BuildFailed(f"{program.folder}/go.mod does not require {program.module}")
        major, minor = pinned[1].removeprefix("v").split(".")[:2]
        stamps = {"gitVersion": pinned[1], "gitMajor": major, "gitMinor": minor}
        ldflags += "".join(f" -X {program.stamp}.{key}={value}" for key, value in stamps.items())
    return ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", ldflags]


def cache_key(folder: Path, arguments: list[str], go_version: str) -> str:
    """Changes whenever anything that goes into the build does."""
    digest = hashlib.sha256()
    files = [path.read_bytes() for path in sorted(folder.glob("go.*")) + sorted(folder.glob("*.go"))]
    for part in (*files, "\0".join(arguments).encode(), go_version.encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _go_line(pins: str) -> str:
    line = re.search(r"^go (\d+\.\d+)", pins, re.M)
    return line[1] if line else ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Find or build programs; print their paths.")
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(PROGRAMS))
    finder = Finder(os.environ, say=lambda line: print(line, file=sys.stderr, flush=True))
    try:
        for name in parser.parse_args(arguments).names:
            print(finder.find(name), flush=True)
    except BinaryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
