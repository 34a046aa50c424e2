"""What Ray Train runs in each worker process.

Its controller loads this module too, before any worker starts: nothing is imported until it runs.
"""

from typing import Any


def work_in_ray_train(config: dict[str, Any]) -> None:
    """Takes work until the exchange is closed: see `gang.work`."""
    import time
    from pathlib import Path

    import ray.train
    import ray.train.torch

    from thaw_trainer.loop.distributed import Gang
    from thaw_trainer.slots.gang import work

    context = ray.train.get_context()
    gang = Gang(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    work(config["exchange"], config["slot"], config["task"], config["threads"], Path(config["logs"]), gang, time.time)
