"""What the last layer of a classifier reads of each training row."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.training import TrainingSpec
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import autocast
from thaw_trainer.tasks.row_task import RowTask


def head_inputs(
    model: nn.Module, task: RowTask[Any], classes: int, gang: Gang, training: TrainingSpec
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]] | None:
    """Numbers [rows, width], label [rows] and id [rows] of each row of train, by id, on rank 0; None elsewhere.

    They are what the last linear layer with so many outputs is given, where that is one vector for each row, and else
    the logits.
    """
    layers = [each for each in model.modules() if isinstance(each, nn.Linear) and each.out_features == classes]
    given: list[torch.Tensor] = []

    def watch(layer: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        given.append(args[0])

    watching = [layer.register_forward_pre_hook(watch) for layer in layers[-1:]]
    mine = []
    try:
        model.eval()
        with torch.inference_mode(), autocast(training, gang.device):
            for plan in task.sweep("train", gang.share)[gang.rank :: gang.size]:
                batch = task.collate("train", plan)
                given.clear()
                told = task.predictions(batch, task.outputs(model, batch, gang.device))  # type: ignore[attr-defined]
                found = told["logits"]
                if given and given[-1].ndim == 2:
                    found = given[-1].float().cpu().numpy()[batch.weight > 0]
                mine.append((found.astype(np.float32), told["label"], told["id"]))
    finally:
        for each in watching:
            each.remove()
    parts = [part for worker in gang.gather(mine) for part in worker]
    if gang.rank != 0:
        return None
    numbers, label, ids = (np.concatenate([part[place] for part in parts]) for place in range(3))
    order = np.argsort(ids, kind="stable")
    return numbers[order], label[order], ids[order]
