"""A group of trials whose heads are trained together, ahead of their turns.

The search knows of none of this: it begins trial after trial and decides after each epoch. When a trial's turn comes
and a group has it, its epochs are there already, or are trained now for all of the group that still wait. A trial that
the search stops is not asked for again; what was trained of it beyond is thrown away.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.fused.heads import Head, WithTensors, losses_of
from thaw_trainer.loop.evaluation import autocast, measure_split
from thaw_trainer.loop.optimizer import optimizer_tensors, phase_optimizer, set_rates
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.loop.stage import Stage
from thaw_trainer.loop.updates import loss_not_finite, scale_and_clip


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
    head: Head
    optimizer: torch.optim.Optimizer
    epochs: dict[int, HeadEpoch]
    """By number, until they are asked for."""
    asked: int = 0
    failed: tuple[int, int, float] | None = None
    """Epoch, step and value of a loss that was not finite: the member's end."""


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
        self._members = []
        for spec, phase in trials:
            head = Head(stage.model, phase.train)
            optimizer = phase_optimizer(head, stage.layout, phase, spec.training.optimizer, None)
            self._members.append(_Member(head, optimizer, {}))
        self._epoch = 0
        self._steps = 0

    def epoch(self, member: int, number: int) -> HeadEpoch:
        """A member's epoch (from 1), trained first when it is not there; each is asked for once, in order.

        Raises:
            TrainerError: LossNotFinite.
        """
        own = self._members[member]
        own.asked = number
        while number not in own.epochs:
            if own.failed is not None:
                raise loss_not_finite(own.failed[2], own.failed[1], own.failed[0])
            self._train_epoch()
        return own.epochs.pop(number)

    def _train_epoch(self) -> None:
        """One epoch of every member that may still be asked for it."""
        members = [member for member in self._members if member.failed is None]
        losses: list[torch.Tensor] = []
        seed_stream(self._training.seed, "training", self._epoch, 0)
        self._model.train()
        batches = iter(self._task.batches("train", self._epoch, self._gang.share))
        while parts := list(islice(batches, self._training.gradient_accumulation)):
            losses.append(self._step(members, parts))
            self._steps += 1
        self._epoch += 1
        by_member = torch.stack(losses, dim=1).tolist()
        for member, values in zip(members, by_member, strict=True):
            bad = next((step for step, value in enumerate(values, start=1) if not math.isfinite(value)), None)
            if bad is not None:
                member.failed = (self._epoch, bad, values[bad - 1])
                continue
            member.epochs[self._epoch] = HeadEpoch(
                losses=values,
                metrics=self._measure(member.head),
                tensors={name: tensor.detach().clone() for name, tensor in member.head.tensors.items()},
                moments={
                    name: tensor.clone() for name, tensor in optimizer_tensors(member.optimizer, member.head).items()
                },
            )

    def _step(self, members: list[_Member], parts: list[Any]) -> torch.Tensor:
        """One optimizer step of every member; each one's mean loss [members]."""
        heads, device = [member.head for member in members], self._gang.device
        sums, total = torch.zeros(len(heads), dtype=torch.float64, device=device), 0.0
        for batch in parts:
            with self._prefix.giving(batch), autocast(self._training, device):
                losses, count = losses_of(self._model, heads, partial(self._task.step, batch=batch, device=device))
            torch.autograd.backward(losses.sum())
            sums += losses.detach().double()
            total += count
        for member in members:
            tensors = list(member.head.tensors.values())
            scale_and_clip(tensors, torch.tensor(1.0 / total, device=device), self._training.clip_norm)
            set_rates(member.optimizer, self._factor(self._steps))
            member.optimizer.step()
            member.optimizer.zero_grad(set_to_none=True)
        return sums / total

    def _measure(self, head: Head) -> dict[str, float]:
        with torch.no_grad():
            self._model.eval()
            model: Any = WithTensors(self._model, head.tensors)
            return measure_split(model, self._task, "validation", self._gang, self._training, self._prefix.giving)
