"""The cluster tier: the cluster that THAW_TEST_KUBECONFIG names, or one of this machine's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cluster.binaries import BinaryError, Finder
from tests.cluster.jobs import ClusterJob
from tests.cluster.kubectl import Api
from tests.cluster.namespaces import Namespace, Namespaces, namespaces_of
from tests.cluster.one_node.cluster import cluster_of, unsupported
from tests.cluster.one_node.packages import PackagesMissing
from tests.cluster.telling import teller
from tests.run.workspace import make_workspace

TRAINER_IMAGE = "thaw-trainer:test"


@dataclass(frozen=True)
class TestCluster:
    """A cluster with KubeRay and thaw's images.

    `audit_log` has a JSON event a line for each request (level Metadata); None on a cluster that is
    not ours. `volumes` is the folder with the files of its volumes, None likewise.
    """

    __test__ = False

    api: Api
    trainer_image: str
    audit_log: Path | None
    volumes: Path | None


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cannot_run: Callable[[str, str], NoReturn],
) -> Iterator[TestCluster]:
    """A cluster that runs already is used and goes on; one that is made for the tests ends with them."""
    say = teller(request.config)
    finder = Finder(os.environ, say)
    named = os.environ.get("THAW_TEST_KUBECONFIG")
    lacking = None if named else unsupported()
    if lacking is not None:
        cannot_run("cluster", lacking)
    if named:
        api = Api(Path(named).absolute(), finder.find("kubectl"), tmp_path_factory.mktemp("kubectl"))
        yield TestCluster(api, os.environ.get("THAW_TEST_TRAINER_IMAGE", TRAINER_IMAGE), None, None)
        return
    own = cluster_of(dict(os.environ), say)
    ran = own.running()
    try:
        own.up()
    except (BinaryError, PackagesMissing) as error:
        lacking = str(error)
    if lacking is not None:
        cannot_run("cluster", lacking)
    yield TestCluster(own.api, TRAINER_IMAGE, own.layout.audit_log, own.layout.volumes)
    if not ran:
        own.down()


@pytest.fixture(scope="session")
def namespaces(cluster: TestCluster) -> Iterator[Namespaces]:
    """Makes namespaces, and sees to it that none is left at the end."""
    with namespaces_of(cluster.api) as made:
        yield made


@pytest.fixture
def namespace(namespaces: Namespaces) -> Iterator[Namespace]:
    """A new namespace that enforces the restricted Pod Security Standard, and is deleted afterwards."""
    with namespaces.one() as made:
        yield made


@pytest.fixture
def claimed_job(namespace: Namespace, tmp_path: Path) -> ClusterJob:
    """A job whose claim is there and empty: enough for what ends before the driver starts."""
    made = ClusterJob(namespace, make_workspace(tmp_path / "workspace"))
    made.prepare()
    return made


@pytest.fixture
def job(cluster: TestCluster, claimed_job: ClusterJob) -> ClusterJob:
    """A job that can run: its model and its table are on the claim."""
    claimed_job.hold(cluster.trainer_image)
    return claimed_job
