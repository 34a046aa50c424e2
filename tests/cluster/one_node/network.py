"""The pods' network: a bridge on the node, and kube-proxy for the addresses of services."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.one_node.credentials import Credentials
from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.layout import NODE_NAME, PODS
from tests.cluster.one_node.node import Node


def configured(node: Node) -> Path:
    """Writes the configuration of the network plugins; returns its folder."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        # A pod must reach itself by its service's address.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/cni-addresses",
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}
    return node.file("cni/10-pods.conflist", json.dumps(document, indent=2)).parent


def start_proxy(node: Node, program: Path, credentials: Credentials) -> Daemon:
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(credentials.kubeconfig("kube-proxy"))},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": PODS,
        "mode": "iptables",
        # These are limits of the machine, not of the node's network.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    file = node.file("kube-proxy.json", json.dumps(document, indent=2))
    return node.daemon("kube-proxy", str(program), f"--config={file}")
