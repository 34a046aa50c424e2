"""The control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.one_node.credentials import Credentials
from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.layout import API_PORT, SERVICES
from tests.cluster.one_node.node import Node

ETCD_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
ISSUER = "https://kubernetes.default.svc"

# Reads of the cluster's own components would be nearly all of the log.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: [system:nodes]
  verbs: [get, list, watch]
- level: None
  users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, system:kube-proxy]
  verbs: [get, list, watch]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
"""


def start_etcd(node: Node, program: Path) -> Daemon:
    flags = {
        "name": "thaw",
        "data-dir": node.layout.state / "etcd",
        "listen-client-urls": ETCD_URL,
        "advertise-client-urls": ETCD_URL,
        "listen-peer-urls": ETCD_PEER_URL,
        "initial-advertise-peer-urls": ETCD_PEER_URL,
        "initial-cluster": f"thaw={ETCD_PEER_URL}",
        "log-level": "warn",
    }
    # The data is thrown away with the cluster; waiting for the disk would be most of the time.
    return node.daemon("etcd", str(program), "--unsafe-no-fsync", *arguments(flags))


def start_apiserver(node: Node, program: Path, credentials: Credentials) -> Daemon:
    layout = node.layout
    policy = node.file("audit-policy.yaml", AUDIT_POLICY)
    serving, kubelet = credentials.pair("apiserver"), credentials.pair("apiserver-kubelet-client")
    flags = {
        "etcd-servers": ETCD_URL,
        "bind-address": "0.0.0.0",  # of the node's own network
        "secure-port": API_PORT,
        "advertise-address": layout.node_address,
        "service-cluster-ip-range": SERVICES,
        "tls-cert-file": serving.public,
        "tls-private-key-file": serving.private,
        "client-ca-file": credentials.authority,
        "kubelet-certificate-authority": credentials.authority,
        "kubelet-client-certificate": kubelet.public,
        "kubelet-client-key": kubelet.private,
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": ISSUER,
        "service-account-key-file": credentials.tokens.public,
        "service-account-signing-key-file": credentials.tokens.private,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "audit-policy-file": policy,
        # Written before the request is answered: a test that has the answer finds the event.
        "audit-log-mode": "blocking",
        "audit-log-path": layout.audit_log,
    }
    return node.daemon("kube-apiserver", str(program), *arguments(flags))


def start_controllers(node: Node, program: Path, credentials: Credentials) -> Daemon:
    flags = {
        **_client(credentials, "kube-controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": credentials.tokens.private,
        "root-ca-file": credentials.authority,
        "kube-api-qps": 100,
        "kube-api-burst": 200,
    }
    return node.daemon("kube-controller-manager", str(program), *arguments(flags))


def start_scheduler(node: Node, program: Path, credentials: Credentials) -> Daemon:
    return node.daemon("kube-scheduler", str(program), *arguments(_client(credentials, "kube-scheduler")))


def arguments(flags: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]


def _client(credentials: Credentials, name: str) -> dict[str, object]:
    """What the two that only talk to the apiserver have in common."""
    kubeconfig = credentials.kubeconfig(name)
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }
