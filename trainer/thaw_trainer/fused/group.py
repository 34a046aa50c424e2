"""A group of trials whose heads are trained together, ahead of their turns.

The search knows of none of this: it begins trial after trial and decides after each epoch. When a trial's turn comes
and a group has it, its epochs are there already, or are trained now for all of the group that still wait. A trial that
the search stops is not asked for again; what was trained of it beyond is thrown away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import torch

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.fused.heads import Heads, heads_optimizer
from thaw_trainer.loop.evaluation import autocast
from thaw_trainer.loop.optimizer import set_rates
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.loop.stage import Stage
from thaw_trainer.loop.updates import loss_not_finite
from thaw_trainer.tasks.protocol import Predictions, join_predictions


@dataclass(frozen=True)
class HeadEpoch:
    """One trial's epoch: what it would have been, had it been trained by itself."""

    losses: list[float]
    metrics: dict[str, float]
    tensors: dict[str, torch.Tensor]
    moments: dict[str, torch.Tensor]
    """See `optimizer_tensors`."""


@dataclass
class _Member:
    """One trial's epochs by number, until they are asked for; or the epoch, step and value of a loss that was not
    finite, which is its end."""

    epochs: dict[int, HeadEpoch] = field(default_factory=dict)
    failed: tuple[int, int, float] | None = None


class Group:
    """Trials that differ in their optimizers only."""

    def __init__(self, stage: Stage, trials: Sequence[tuple[FineTuneJobSpec, Phase]]) -> None:
        """
        Args:
            stage: the first trial's, its only phase in effect and its head pristine. The group keeps its model.
            trials: each with its only phase; the first is the stage's.
        """
        self._model, self._task, self._gang, self._prefix = stage.model, stage.task, stage.gang, stage.prefix
        self._training, self._factor = trials[0][0].training, stage.factor()
        self._heads = Heads(stage.model, trials[0][1].train, len(trials))
        self._optimizer = heads_optimizer(self._heads, stage.layout, trials)
        self._members = [_Member() for _ in trials]
        self._epoch = self._steps = 0

    def epoch(self, member: int, number: int) -> HeadEpoch:
        """A member's epoch (from 1), trained first when it is not there; each is asked for once, in order.

        Raises:
            TrainerError: LossNotFinite.
        """
        own = self._members[member]
        assert number > self._epoch or number in own.epochs or own.failed, "each epoch is asked for once"
        while number not in own.epochs:
            if own.failed is not None:
                raise loss_not_finite(own.failed[2], own.failed[1], own.failed[0])
            self._train_epoch()
        return own.epochs.pop(number)

    def _train_epoch(self) -> None:
        """One epoch of every member. One whose loss is not finite any more spoils no other's numbers."""
        losses: list[torch.Tensor] = []
        seed_stream(self._training.seed, "training", self._epoch, 0)
        self._model.train()
        batches = iter(self._task.batches("train", self._epoch, self._gang.share))
        while parts := list(islice(batches, self._training.gradient_accumulation)):
            losses.append(self._step(parts))
            self._steps += 1
        self._epoch += 1
        by_member: list[list[float]] = torch.stack(losses, dim=1).tolist()
        for member, values in zip(self._members, by_member, strict=True):
            bad = next((step for step, value in enumerate(values, start=1) if not math.isfinite(value)), None)
            if member.failed is None and bad is not None:
                member.failed = (self._epoch, bad, values[bad - 1])
        going = [index for index, member in enumerate(self._members) if member.failed is None]
        for index, metrics in zip(going, self._measure(going), strict=True):
            self._members[index].epochs[self._epoch] = self._epoch_of(index, by_member[index], metrics)

    def _step(self, parts: list[Any]) -> torch.Tensor:
        """One optimizer step of every member; each one's mean loss [members]."""
        device = self._gang.device
        sums, total = torch.zeros(len(self._members), dtype=torch.float64, device=device), 0.0
        for batch in parts:
            with self._prefix.giving(batch), autocast(self._training, device):
                losses, count = self._heads.losses(partial(self._task.step, batch=batch, device=device))
            torch.autograd.backward(losses.sum())
            sums += losses.detach().double()
            total += count
        self._heads.scale_and_clip(1.0 / total, self._training.clip_norm)
        set_rates(self._optimizer, self._factor(self._steps))
        self._optimizer.step()
        self._heads.drop_gradients()
        return sums / total

    def _measure(self, members: Sequence[int]) -> list[dict[str, float]]:
        """Metrics of the validation rows."""
        parts: list[list[Predictions]] = [[] for _ in members]
        device = self._gang.device
        self._model.eval()
        with torch.no_grad(), autocast(self._training, device):
            for batch in self._task.batches("validation", 0, self._gang.share):
                with self._prefix.giving(batch):
                    outputs = self._heads.outputs(partial(self._task.outputs, batch=batch, device=device))
                for index, part in zip(members, parts, strict=True):
                    own = {name: tensor[index] for name, tensor in outputs.items()}
                    part.append(self._task.predictions(batch, own))
        return [self._task.metrics(join_predictions(part), full=False) for part in parts]

    def _epoch_of(self, member: int, losses: list[float], metrics: dict[str, float]) -> HeadEpoch:
        return HeadEpoch(
            losses=losses,
            metrics=metrics,
            tensors={name: tensor.clone() for name, tensor in self._heads.of(member).items()},
            moments=self._heads.moments(member, self._optimizer),
        )
