"""The average of several trials' weights, when it is better on the validation rows than the best trial alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective
from thaw_trainer.disk import writing
from thaw_trainer.freezing.progress import Watch
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.evaluation import measure_split
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.loop.randomness import untouched_process
from thaw_trainer.tasks.protocol import Task

SOUP_EPOCH = 1
"""The epoch that a soup's tensors are kept under."""


def greedy_soup(
    task: Task, spec: FineTuneJobSpec, members: Sequence[dict[str, Any]], folder: Path, gang: Gang
) -> dict[str, Any]:
    """Averages trials, the best first: each is taken in when the average with it is better than without (greedy soup,
    arXiv 2203.05482). Every worker takes part; rank 0 writes the soup as the best file of `folder`.

    Args:
        spec: the best trial's.
        members: `name` of each trial and `file` of its best epoch's tensors, the best trial first.

    Returns:
        `members` that were taken in, `tried` trials, the objective of the best `alone` and of the `soup`.
    """
    with untouched_process():
        model = pristine_model(task, spec).to(gang.device)
        metric, mode = objective(spec)
        pristine = _pristine(model, members)

        def measured(tensors: dict[str, torch.Tensor]) -> float:
            _load(model, tensors)
            return measure_split(model, task, "validation", gang, spec.training)[metric]

        mean = pristine | load_file(members[0]["file"])
        taken, watch = [members[0]["name"]], Watch().after(measured(mean), mode)
        alone = watch.best
        for member in members[1:]:
            tensors, share = pristine | load_file(member["file"]), 1.0 / (len(taken) + 1)
            tried = {name: value + share * (tensors[name] - value) for name, value in mean.items()}
            after = watch.after(measured(tried), mode)
            if after.stale == 0:
                mean, watch = tried, after
                taken.append(member["name"])
        if gang.rank == 0 and len(taken) > 1:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                unfinished = folder / "soup.unfinished"
                save_file({name: value.contiguous() for name, value in mean.items()}, unfinished)
                unfinished.replace(Checkpoints(folder).best_file(SOUP_EPOCH))
    return {"members": taken, "tried": len(members), "alone": alone, "soup": watch.best}


def _pristine(model: nn.Module, members: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """What some trial has moved, as it was before, in the CPU's memory: the rest is the same in all of them."""
    names = set()
    for member in members:
        with safe_open(member["file"], framework="pt") as opened:
            names.update(opened.keys())
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: named[name].detach().to("cpu", copy=True) for name in sorted(names)}


@torch.no_grad()
def _load(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in tensors.items():
        named[name].copy_(value)
