"""A Kubernetes API for tests: a real etcd and a real kube-apiserver, and nothing that runs pods.

The server has RBAC, a CA of its own and a service-account issuer. No controller runs: objects are
validated, admitted, stored and watched, but a Job makes no pod and a Namespace is never emptied.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.certificates import Authority, signing_keys
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.polling import NeverHappened, wait_until
from tests.cluster.probes import Getter, client_tls, getter
from tests.cluster.processes import Running, reserved_ports, running

HOST = "127.0.0.1"
ISSUER = "https://kubernetes.default.svc"
START_SECONDS = 90.0


class StartFailed(Exception):
    """The control plane did not come up; the message ends with the tails of its logs."""


@dataclass(frozen=True)
class ControlPlane:
    """A server that answers. `kubeconfig` is an administrator's and needs no other file."""

    url: str
    kubeconfig: Path
    folder: Path


@contextmanager
def control_plane(etcd: Path, apiserver: Path, folder: Path, seconds: float = START_SECONDS) -> Iterator[ControlPlane]:
    """Run both programs for as long as the block runs, with all their files in `folder`.

    Raises StartFailed when one of them ends, or is not ready within `seconds`.
    """
    authority = Authority.new(folder, datetime.datetime.now(datetime.UTC))
    admin = authority.client("admin", user="thaw-test-admin", groups=["system:masters"])
    with reserved_ports(3) as (client_port, peer_port, secure_port):
        etcd_url, url = f"http://{HOST}:{client_port}", f"https://{HOST}:{secure_port}"
        etcd_flags = _etcd_flags(folder / "etcd", etcd_url, f"http://{HOST}:{peer_port}")
        with running(etcd, etcd_flags, folder / "etcd.log") as store:
            _wait([store], getter(etcd_url, None), "/health", seconds)
            flags = _apiserver_flags(folder, authority, etcd_url, secure_port)
            with running(apiserver, flags, folder / "kube-apiserver.log") as server:
                get = getter(url, client_tls(authority, admin))
                # The server turns ready before it has made the namespaces that it starts with.
                for path in ("/readyz", "/api/v1/namespaces/default"):
                    _wait([store, server], get, path, seconds)
                kubeconfig = folder / "admin.kubeconfig"
                write_kubeconfig(kubeconfig, url, authority, admin)
                yield ControlPlane(url, kubeconfig, folder)


def _etcd_flags(data: Path, client_url: str, peer_url: str) -> list[str]:
    return [
        "--name=thaw",
        f"--data-dir={data}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=thaw={peer_url}",
        "--socket-reuse-port",
        # The data is thrown away with the run; waiting for the disk would be most of the time.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver_flags(folder: Path, authority: Authority, etcd_url: str, secure_port: int) -> list[str]:
    names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    serving = authority.server("kube-apiserver", addresses=[HOST, "10.96.0.1"], names=names)
    tokens = signing_keys(folder, "service-accounts")
    return [
        f"--etcd-servers={etcd_url}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={secure_port}",
        "--permit-port-sharing",
        # The loopback is no valid endpoint of the `kubernetes` service, which nothing here uses.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--cert-dir={folder}",
        f"--tls-cert-file={serving.public}",
        f"--tls-private-key-file={serving.private}",
        f"--client-ca-file={authority.path}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={tokens.public}",
        f"--service-account-signing-key-file={tokens.private}",
        "--authorization-mode=RBAC",
        # It refuses every pod whose namespace has no default service account, and the controller
        # that makes those is not here.
        "--disable-admission-plugins=ServiceAccount",
    ]


def _wait(programs: list[Running], get: Getter, path: str, seconds: float) -> None:
    """Until the last of the programs serves the path."""
    what = f"{programs[-1].name} serves {path}"

    def missing() -> str | None:
        for program in programs:
            if (end := program.ended()) is not None:
                raise NeverHappened(f"{what}: {end}")
        return get(path)

    try:
        wait_until(what, missing, seconds)
    except NeverHappened as error:
        tails = "\n".join(program.tail() for program in programs)
        raise StartFailed(f"{error}\n{tails}") from None
