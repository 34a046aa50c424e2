"""An embedded Ray on one machine, for `thaw run`."""

import os

from thaw_api.contract import HEAD_RESOURCE
from thaw_trainer.search.parallelism import Machine

_OBJECT_STORE_BYTES = 200_000_000


def start_ray() -> None:
    """Starts a Ray that ends with this process."""
    import ray

    ray.init(
        address="local",
        num_cpus=_cores(),
        resources={HEAD_RESOURCE: 1000},
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=_OBJECT_STORE_BYTES,
    )


def this_machine() -> list[Machine]:
    """What this machine has, after `start_ray`."""
    import psutil
    import ray

    gpus = int(ray.cluster_resources().get("GPU", 0))
    return [Machine(_cores(), gpus, int(psutil.virtual_memory().available))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
