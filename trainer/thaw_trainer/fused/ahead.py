"""A gang's groups: whether a trial's epochs are trained with others', and where they are."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS
from thaw_trainer.data.store import digest
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import Phase, resolve_schedule
from thaw_trainer.freezing.triggers import counted_end
from thaw_trainer.fused.group import Group, HeadEpoch
from thaw_trainer.fused.kin import kinship
from thaw_trainer.loop.stage import Stage

_MEMORY = 512 * 2**20
"""Bytes that the epochs of a group's waiting trials may take: weights and two moments of every head."""

_log = logging.getLogger("thaw.fused")


@dataclass
class GroupMemory:
    """The newest group of a gang, kept between trials: it holds a model."""

    places: dict[str, tuple[Group, int]] = field(default_factory=dict)
    """Digest of a trial's spec -> its group, and its number there."""
    refused: set[str] = field(default_factory=set)
    """Kinships whose model cannot be computed for several heads at once."""


@dataclass(frozen=True)
class GroupSite:
    """What a trial is given to train others with it: its gang's memory, and specs of later trials."""

    memory: GroupMemory
    companions: tuple[Mapping[str, Any], ...]


class Ahead:
    """One trial's place in a group."""

    def __init__(self, site: GroupSite, group: Group, member: int, kin: str) -> None:
        self._site, self._group, self._member, self._kin = site, group, member, kin

    def epoch(self, number: int) -> HeadEpoch | None:
        """The trial's epoch (from 1); None when the model turns out not to be one for several heads at once.

        Raises:
            TrainerError: LossNotFinite.
        """
        try:
            return self._group.epoch(self._member, number)
        except (RuntimeError, ValueError) as error:  # whatever a model's code and vmap have against each other
            if number > 1:
                raise
            _log.info("heads are not trained together: %s", error)
            self._site.memory.refused.add(self._kin)
            return None


def ahead_of(site: GroupSite | None, stage: Stage, phases: Sequence[Phase]) -> Ahead | None:
    """A fresh trial's place in a group: one that is there, or a new one. None when it is trained by itself.

    Args:
        stage: the trial's first, in effect.
    """
    spec, layout = stage.spec, stage.layout
    if site is None or stage.gang.size > 1 or not TASKS[spec.task].shares_steps:
        return None
    if spec.training.regularization.ema_decay or not _trains_the_head_only(stage, phases):
        return None
    memory, name, kin = site.memory, digest(spec.manifest()), kinship(spec)
    if kin in memory.refused:
        return None
    if name not in memory.places:
        others = [FineTuneJobSpec.model_validate(each) for each in site.companions]
        trials = [spec, *(each for each in others if kinship(each) == kin)]
        trials = trials[: _fitting(layout, phases[0], spec.training.epochs)]
        if len(trials) < 2:
            return None
        resolved = [(each, resolve_schedule(each.freezing, each.training, layout)[0]) for each in trials]
        group = Group(stage, resolved)
        memory.places = {digest(each.manifest()): (group, index) for index, each in enumerate(trials)}
        _log.info("%d heads are trained together", len(trials))
    group, member = memory.places.pop(name)  # a second trial of the same values is trained anew
    return Ahead(site, group, member, kin)


def _trains_the_head_only(stage: Stage, phases: Sequence[Phase]) -> bool:
    """Whether everything below the head is replayed, and nothing but tensors is trained."""
    statistics = any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and any(each.requires_grad for each in module.parameters())
        for module in stage.model.modules()
    )
    replayed = stage.prefix.facts()["blocks"] == stage.layout.blocks
    return (
        len(phases) == 1 and phases[0].rotation is None and replayed and not statistics and _ends_with_an_epoch(stage)
    )


def _ends_with_an_epoch(stage: Stage) -> bool:
    """Whether the only phase ends when an epoch does: a group trains whole epochs."""
    length = stage.plan.length
    end = counted_end(stage.plan.phases[0].until, 0, length)
    return end is None or end >= length.steps or end % length.steps_per_epoch == 0


def _fitting(layout: Layout, phase: Phase, epochs: int) -> int:
    numbers = sum(layout.size[name] for name in phase.train)
    return max(1, _MEMORY // (3 * 4 * numbers * epochs))
