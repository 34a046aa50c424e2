"""The kubelet: makes this machine the cluster's one node."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.one_node.cgroups import make_cgroup
from tests.cluster.one_node.credentials import Credentials
from tests.cluster.one_node.daemons import Daemon
from tests.cluster.one_node.layout import DNS_SERVICE, DOMAIN, NODE_NAME
from tests.cluster.one_node.node import Node
from tests.cluster.one_node.runtime import SOCKET


def start_kubelet(node: Node, program: Path, credentials: Credentials) -> Daemon:
    layout = node.layout
    make_cgroup(layout.cgroup)
    # Pods that ask for the node's own resolver get none: there is no way out.
    resolver = node.file("resolv.conf", "")
    serving = credentials.pair("kubelet-server")
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(credentials.authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.public),
        "tlsPrivateKeyFile": str(serving.private),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolver),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        # Images are kept for the next cluster, and no registry could give them back.
        "imageGCHighThresholdPercent": 100,
        "shutdownGracePeriod": "0s",
    }
    file = node.file("kubelet.json", json.dumps(document, indent=2))
    return node.daemon(
        "kubelet",
        str(program),
        f"--config={file}",
        f"--kubeconfig={credentials.kubeconfig('kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={layout.node_address}",
    )
