"""What to start from: each model of a task, in each way to train it, on a machine; and the one to begin with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from thaw_trainer.advice.catalogue import Listed, listed
from thaw_trainer.advice.cost import Cost, cost_of
from thaw_trainer.advice.device import Device
from thaw_trainer.advice.shape import Shape
from thaw_trainer.advice.work import Adapters, Work
from thaw_trainer.errors import TrainerError

LORA_RANK = 8


@dataclass(frozen=True)
class Way:
    """One way to train a model."""

    name: str
    work: Callable[[Shape], Work]


@dataclass(frozen=True)
class Option:
    """A model in one way."""

    way: str
    cost: Cost
    seconds: float
    fits: bool
    """Whether its memory is there, and its time within the budget."""


@dataclass(frozen=True)
class Proposal:
    """A model in every way that it has."""

    model: Listed
    options: tuple[Option, ...]
    proposed: str | None = None
    """The way to begin with, of the one model that is proposed."""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        shape = self.model.shape
        return {
            "uri": self.model.uri,
            "family": self.model.family,
            "parameters": shape.parameters,
            "blocks": shape.blocks,
            "hidden": shape.stacks[-1].hidden,
            "licence": self.model.licence,
            "longest": self.model.longest,
            "proposed": self.proposed,
            "ways": [
                {
                    "way": option.way,
                    "fits": option.fits,
                    "seconds": round(option.seconds, 1),
                    "memoryBytes": round(option.cost.memory),
                    "trainedParameters": option.cost.trained,
                    "operations": round(option.cost.operations),
                }
                for option in self.options
            ],
        }


def usual_ways(work: Work) -> list[Way]:
    """Everything, LoRA, the top two blocks and the head; the earlier is tried first."""
    ways = [
        Way("all", lambda shape: work.training("all")),
        Way("lora", lambda shape: work.training("all", Adapters(LORA_RANK))),
        Way("top-2", lambda shape: work.training(2)),
        Way("head", lambda shape: work.training("head")),
    ]
    return ways


def propose(task: str, ways: list[Way], device: Device, seconds: float, trials: int = 1) -> list[Proposal]:
    """Every model of a task, the smallest first.

    Proposed is the largest model that fits in the first way in which any does.

    Args:
        seconds: the budget of one trial.
        trials: how many are trained one after the other; the times are those of all.
    """
    found = [Proposal(model, tuple(_options(model, ways, device, seconds, trials))) for model in listed(task)]
    found = [proposal for proposal in found if proposal.options]
    for way in ways:
        fitting = [each for each in found if any(o.way == way.name and o.fits for o in each.options)]
        if fitting:
            best = fitting[-1]
            return [Proposal(p.model, p.options, way.name if p is best else None) for p in found]
    return found


def _options(model: Listed, ways: list[Way], device: Device, seconds: float, trials: int) -> Iterator[Option]:
    for way in ways:
        if way.name == "lora" and any(stack.macs for stack in model.shape.stacks):
            continue  # convolutions, which no adapter goes into by itself
        if way.name == "head" and not model.shape.has_head:
            continue
        try:
            work = way.work(model.shape)
        except TrainerError:
            continue  # it has fewer blocks than the schedule wants
        if model.longest is not None and work.length > model.longest and not model.shape.positions:
            continue
        cost = cost_of(model.shape, work)
        each = device.seconds(cost.operations, work.precision)
        yield Option(way.name, cost, each * trials, cost.memory <= device.memory and each <= seconds)
