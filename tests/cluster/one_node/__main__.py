"""`python -m tests.cluster.one_node up` makes the cluster of the tests, `down` removes it."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.cluster.binaries import BinaryError
from tests.cluster.kubectl import KubectlError
from tests.cluster.one_node.cluster import TracesLeft, cluster_of, unsupported
from tests.cluster.one_node.daemons import DaemonEnded
from tests.cluster.one_node.node import CommandFailed
from tests.cluster.one_node.packages import PackagesMissing
from tests.cluster.polling import NeverHappened

EXPECTED = (BinaryError, KubectlError, TracesLeft, DaemonEnded, CommandFailed, PackagesMissing, NeverHappened)


def main() -> int:
    parser = argparse.ArgumentParser(prog="one_node", description="A Kubernetes cluster on this machine, for tests.")
    parser.add_argument("command", choices=["up", "down"])
    command = parser.parse_args().command
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - begin:4.0f} s] {line}", file=sys.stderr, flush=True)

    if (reason := unsupported()) is not None:
        print(f"no cluster can be made here: {reason}", file=sys.stderr)
        return 1
    cluster = cluster_of(dict(os.environ), say)
    try:
        if command == "up":
            cluster.up()
            say("the cluster runs; `make cluster-down` removes it")
            print(f"export KUBECONFIG={cluster.layout.kubeconfig}")
        else:
            cluster.down()
            say("the machine is as it was")
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
