"""The api tier: a Kubernetes API, the one that THAW_TEST_KUBECONFIG names or one of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

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
