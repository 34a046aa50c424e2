"""What a task predicts of a split, by one worker or by several."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import predict_split
from thaw_trainer.tasks.protocol import Predictions, Share, Task, join_predictions, predict

CPU = torch.device("cpu")


class TrialTask(Task, Protocol):
    """A task that has its trial's spec, as all of them do."""

    spec: FineTuneJobSpec


def predictions_of(task: TrialTask, split: str = "test") -> Predictions:
    """Of a model as it is built, with all that is written."""
    found = predict_split(task.build(), task, split, Gang(), task.spec.training)
    assert found is not None
    return found


def by_workers(task: Task, model: nn.Module, split: str, world: int) -> Predictions:
    """Of a split's rows as so many workers divide them, joined."""
    with torch.inference_mode():
        return join_predictions(
            [
                predict(task, model, batch, CPU)
                for rank in range(world)
                for batch in task.batches(split, 0, Share(rank, world))
            ]
        )
