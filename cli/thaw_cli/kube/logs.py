"""`thaw logs`: what the driver prints, from the head's pod; after its end, what the status has kept."""

import sys

from kubernetes import watch

from thaw_api.contract import HEAD_CONTAINER
from thaw_cli.kube.jobs import ClusterError, Jobs
from thaw_cli.kube.shown import outcome_of, phase_of


def print_logs(jobs: Jobs, name: str, *, follow: bool) -> int:
    """Prints the driver's log; with `follow`, as it grows. Ray's own lines of its start stand before it."""
    job = jobs.get(name)
    pod = jobs.head(name)
    if pod is not None:
        place = {"name": pod, "namespace": jobs.namespace, "container": HEAD_CONTAINER}
        if follow:
            for line in watch.Watch().stream(jobs.core.read_namespaced_pod_log, **place):
                print(line, flush=True)
        else:
            print(jobs.core.read_namespaced_pod_log(**place), end="")
        return 0
    tail = ((job.get("status") or {}).get("failure") or {}).get("logTail")
    if tail:
        print(tail)
        return 0
    if outcome_of(job) is None:
        raise ClusterError(f"{name} has no running head now ({phase_of(job)}): {_message(job)}")
    print(f"the cluster of {name} is gone; its logs are in {job['spec']['output']['uri']}/logs", file=sys.stderr)
    return 0


def _message(job: dict[str, object]) -> str:
    status = job.get("status")
    return str(status.get("message", "")) if isinstance(status, dict) else ""
