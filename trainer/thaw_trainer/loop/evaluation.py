"""A split's predictions, each example once, and their metrics."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from thaw_api.training import TrainingSpec
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.sharding import whole
from thaw_trainer.tasks.protocol import Batch, Predictions, Task, WritesText, join_predictions


def autocast(training: TrainingSpec, device: torch.device) -> torch.autocast:
    """The computation's precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=training.precision == "bfloat16")


Giving = Callable[[Batch], AbstractContextManager[None]]
"""Inside, the model's forward of a batch may replay what is known of it."""


def computing(batch: Batch) -> AbstractContextManager[None]:
    """Everything is computed."""
    return nullcontext()


def predict_split(
    model: nn.Module,
    task: Task,
    split: str,
    gang: Gang,
    training: TrainingSpec,
    giving: Giving = computing,
    full: bool = True,
) -> Predictions | None:
    """Predictions over all of a split, on rank 0; None elsewhere.

    Args:
        full: whether they are for all metrics.
    """
    model.eval()
    mine = []
    with whole(model), torch.inference_mode(), autocast(training, gang.device):
        for batch in task.batches(split, 0, gang.share):
            with giving(batch):
                outputs = task.outputs(model, batch, gang.device)
            if isinstance(task, WritesText):
                outputs |= task.write(model, batch, gang.device, full)
            mine.append(task.predictions(batch, outputs))
    parts = [part for worker in gang.gather(mine) for part in worker]
    return join_predictions(parts) if gang.rank == 0 else None


def measure_split(
    model: nn.Module, task: Task, split: str, gang: Gang, training: TrainingSpec, giving: Giving = computing
) -> dict[str, float]:
    """The cheap metrics of a split, the same on every worker."""
    predictions = predict_split(model, task, split, gang, training, giving, full=False)
    metrics: dict[str, float] = gang.broadcast(task.metrics(predictions, full=False) if predictions else None)
    return metrics
