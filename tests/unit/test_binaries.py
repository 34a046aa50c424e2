"""How the test tiers come by their programs. Go is played by a shell script that keeps a list."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.binaries import PROGRAMS, BuildFailed, Finder, GoMissing, UnknownProgram

FAKE_GO = """#!/bin/sh
if [ "$1" = version ]; then echo "$FAKE_GO_VERSION"; exit; fi
echo "$*" >> "$FAKE_GO_BUILDS"
if [ -n "$FAKE_GO_ERROR" ]; then echo "$FAKE_GO_ERROR" >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
WAIT_SECONDS = 10.0


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass
class Workshop:
    """A finder in a world of its own: its modules, its PATH, its cache, what it said."""

    folder: Path
    said: list[str] = field(default_factory=list)
    on_say: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        shutil.copytree(binaries.MODULES, self.folder / "modules")
        self.environ = {
            "PATH": str(self.folder / "bin"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "FAKE_GO_BUILDS": str(self.folder / "builds"),
            "FAKE_GO_VERSION": "go version go1.26.0 linux/amd64",
        }

    def with_go(self) -> Workshop:
        executable(self.folder / "bin" / "go", FAKE_GO)
        return self

    @property
    def finder(self) -> Finder:
        return Finder(self.environ, self._say, self.folder / "modules")

    @property
    def builds(self) -> list[str]:
        record = self.folder / "builds"
        return record.read_text().splitlines() if record.exists() else []

    def _say(self, line: str) -> None:
        self.said.append(line)
        self.on_say(line)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_kubebuilder_assets_come_before_path_and_path_before_a_build(workshop: Workshop) -> None:
    workshop.with_go()
    built = workshop.finder.find("etcd")
    on_path = executable(workshop.folder / "bin" / "etcd")
    assert workshop.finder.find("etcd") == on_path != built
    asset = executable(workshop.folder / "assets" / "etcd")
    workshop.environ["KUBEBUILDER_ASSETS"] = str(asset.parent)
    assert workshop.finder.find("etcd") == asset


def test_assets_that_lack_one_program_leave_it_to_path(workshop: Workshop) -> None:
    asset = executable(workshop.folder / "assets" / "etcd")
    on_path = executable(workshop.folder / "bin" / "kubectl")
    workshop.environ["KUBEBUILDER_ASSETS"] = str(asset.parent)
    assert workshop.finder.find("kubectl") == on_path


def test_a_file_that_cannot_be_executed_is_no_program(workshop: Workshop) -> None:
    on_path = executable(workshop.folder / "bin" / "etcd")
    asset = executable(workshop.folder / "assets" / "etcd")
    asset.chmod(0o644)
    workshop.environ["KUBEBUILDER_ASSETS"] = str(asset.parent)
    assert workshop.finder.find("etcd") == on_path


def test_a_program_is_built_once_and_found_again(workshop: Workshop) -> None:
    first = workshop.with_go().finder.find("kubectl")
    assert first.read_text() == "built\n"
    assert first.is_relative_to(workshop.folder / "cache" / "thaw" / "binaries")
    assert workshop.finder.find("kubectl") == first
    assert len(workshop.builds) == 1
    assert [line.split(":")[0] for line in workshop.said] == ["kubectl", "kubectl"]


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "tools.go"])
def test_a_changed_pin_is_built_anew(workshop: Workshop, name: str) -> None:
    first = workshop.with_go().finder.find("kubectl")
    pins = workshop.folder / "modules" / "kubernetes" / name
    pins.write_text(pins.read_text() + "// changed\n")
    assert workshop.finder.find("kubectl") != first
    assert len(workshop.builds) == 2


def test_another_go_builds_anew(workshop: Workshop) -> None:
    first = workshop.with_go().finder.find("etcd")
    workshop.environ["FAKE_GO_VERSION"] = "go version go1.27.0 linux/amd64"
    assert workshop.finder.find("etcd") != first


def test_other_flags_build_anew(workshop: Workshop) -> None:
    folder = workshop.folder / "modules" / "etcd"
    keys = {binaries.cache_key(folder, flags, "go") for flags in (["-a"], ["-b"], ["-a", "-b"])}
    assert len(keys) == 3


def test_a_kubernetes_program_is_stamped_with_the_version_that_go_mod_requires(
    workshop: Workshop,
) -> None:
    flags = binaries.build_flags(PROGRAMS["kubectl"], "require k8s.io/kubernetes v1.99.7\n")
    stamps = flags[-1].split(" -X ")[1:]
    stamp = "k8s.io/component-base/version"
    assert stamps == [f"{stamp}.gitVersion=v1.99.7", f"{stamp}.gitMajor=1", f"{stamp}.gitMinor=99"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_pinned_by_its_module(name: str) -> None:
    program = PROGRAMS[name]
    folder = binaries.MODULES / program.folder
    if program.module == program.package and program.module.startswith(binaries.OWN):
        assert f"module {program.module}\n" in (folder / "go.mod").read_text()
        return
    assert f"require {program.module} v" in (folder / "go.mod").read_text()
    assert f'_ "{program.package}"' in (folder / "tools.go").read_text()


def test_without_go_the_error_says_what_to_install(workshop: Workshop) -> None:
    with pytest.raises(GoMissing, match=r"install Go 1\.\d+\+ or set KUBEBUILDER_ASSETS"):
        workshop.finder.find("etcd")


def test_a_name_that_is_not_pinned_is_refused(workshop: Workshop) -> None:
    with pytest.raises(UnknownProgram, match=r"known are .*etcd, .*kube-apiserver, .*kubectl"):
        workshop.finder.find("minikube")


def test_a_failed_build_shows_what_go_said_and_leaves_no_program(workshop: Workshop) -> None:
    workshop.with_go().environ["FAKE_GO_ERROR"] = "no required module provides package"
    with pytest.raises(BuildFailed, match="no required module provides package"):
        workshop.finder.find("etcd")
    workshop.environ["FAKE_GO_ERROR"] = ""
    workshop.finder.find("etcd")
    assert len(workshop.builds) == 2


def test_a_second_run_waits_for_the_build_of_the_first(workshop: Workshop) -> None:
    target = workshop.with_go().finder.find("etcd")
    target.unlink()
    workshop.said.clear()
    waiting = threading.Event()
    workshop.on_say = lambda line: waiting.set()
    with ThreadPoolExecutor() as pool:
        with (target.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = pool.submit(workshop.finder.find, "etcd")
            assert waiting.wait(WAIT_SECONDS)
            target.write_text("built by the first")
        assert second.result(WAIT_SECONDS) == target
    assert workshop.said == ["etcd: waiting for another run that builds it"]
    assert target.read_text() == "built by the first"


def test_the_command_prints_paths_on_standard_output_and_nothing_else(workshop: Workshop) -> None:
    on_path = executable(workshop.folder / "bin" / "etcd")
    command = [sys.executable, str(Path(binaries.__file__)), "etcd", "kube-apiserver"]
    done = subprocess.run(command, env=workshop.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, f"{on_path}\n")
    assert done.stderr.startswith("kube-apiserver is neither in $KUBEBUILDER_ASSETS nor on PATH")
