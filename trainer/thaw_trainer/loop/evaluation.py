"""A split's predictions, each example once, and their metrics."""

import torch
from torch import nn

from thaw_api.training import TrainingSpec
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.tasks.protocol import Predictions, Task, join_predictions


def autocast(training: TrainingSpec, device: torch.device) -> torch.autocast:
    """The computation's precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=training.precision == "bfloat16")


def predict_split(model: nn.Module, task: Task, split: str, gang: Gang, training: TrainingSpec) -> Predictions | None:
    """Predictions over all of a split, on rank 0; None elsewhere."""
    model.eval()
    with torch.inference_mode(), autocast(training, gang.device):
        mine = [task.predict(model, batch, gang.device) for batch in task.batches(split, 0, gang.share)]
    parts = [part for worker in gang.gather(mine) for part in worker]
    return join_predictions(parts) if gang.rank == 0 else None


def measure_split(model: nn.Module, task: Task, split: str, gang: Gang, training: TrainingSpec) -> dict[str, float]:
    """The cheap metrics of a split, the same on every worker."""
    predictions = predict_split(model, task, split, gang, training)
    metrics: dict[str, float] = gang.broadcast(task.metrics(predictions, full=False) if predictions else None)
    return metrics
