"""The api tier: a Kubernetes API, the one that THAW_TEST_KUBECONFIG names or one of its own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.api.operator_process import OperatorProcess, install_rights, operator_process
from tests.api.played_kuberay import PlayedKubeRay
from tests.api.scenes import Scene, install_ray_kinds
from tests.cluster.binaries import BinaryError, Finder
from tests.cluster.control_plane import control_plane
from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until
from tests.cluster.telling import teller

CRD = Path(__file__).resolve().parents[2] / "crds" / "thaw.dev_finetunejobs.yaml"
RESOURCE = "finetunejobs.thaw.dev"
ESTABLISHED_SECONDS = 30.0


@pytest.fixture(scope="session")
def api(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cannot_run: Callable[[str, str], NoReturn],
) -> Iterator[Api]:
    """A server that answers, and kubectl for it, for the whole run."""
    folder = tmp_path_factory.mktemp("control-plane")
    finder = Finder(os.environ, say=teller(request.config))
    named = os.environ.get("THAW_TEST_KUBECONFIG")
    programs = ["kubectl"] if named else ["etcd", "kube-apiserver", "kubectl"]
    paths: dict[str, Path] = {}
    lacking = ""
    try:
        paths = {name: finder.find(name) for name in programs}
    except BinaryError as error:
        lacking = str(error)
    if lacking:
        cannot_run("api", lacking)
    if named:
        yield Api(Path(named).absolute(), paths["kubectl"], folder)
        return
    with control_plane(paths["etcd"], paths["kube-apiserver"], folder) as plane:
        yield Api(plane.kubeconfig, paths["kubectl"], folder)


@pytest.fixture(scope="session")
def crd(api: Api) -> str:
    """The FineTuneJob resource, served; the fixture is its full name."""
    api.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD))

    def missing() -> str | None:
        answer = api.kubectl("get", RESOURCE, check=False)
        return answer.stderr if answer.returncode else None

    # A resource is served a moment after it was written.
    wait_until(f"{RESOURCE} is served", missing, ESTABLISHED_SECONDS)
    return RESOURCE


@pytest.fixture(scope="module")
def rights(api: Api, crd: str) -> Path:
    """A kubeconfig of the operator's account."""
    return install_rights(api, Finder(os.environ, print).find("helm"))


@pytest.fixture(scope="module")
def ray_kinds(api: Api) -> Path:
    """KubeRay's resources, installed; the fixture is what installs them."""
    folder = Finder(os.environ, print).module("kuberay-operator") / "config" / "crd"
    install_ray_kinds(api, folder)
    return folder


@pytest.fixture
def scene(api: Api, crd: str, ray_kinds: Path) -> Iterator[Scene]:
    namespace = f"operator-{uuid.uuid4().hex[:8]}"
    api.kubectl("create", "namespace", namespace)
    yield Scene(api, PlayedKubeRay(api, namespace), namespace)
    api.kubectl("delete", "ftj", "--all", "-n", namespace)


@pytest.fixture
def operator(rights: Path, tmp_path: Path) -> Iterator[OperatorProcess]:
    with operator_process(rights, tmp_path) as process:
        yield process
