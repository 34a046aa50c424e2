"""Where replay is not what the model computes, it is refused with the first difference; where freezing makes the prefix
a pure function, it is not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import FrozenPolicy, set_trainable
from thaw_trainer.prefix.capture import capture
from thaw_trainer.prefix.entry import EntryFacts
from thaw_trainer.prefix.proof import first_difference
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.structure import describe
from thaw_trainer.prefix.survey import NotCacheable, survey

ROWS, WIDTH, INPUTS, HIDDEN = 4, 6, 8, 8
"""Of 5 inputs, some processors' kernels give a row other last bits at another place of the batch."""


class Block(nn.Module):
    """Keeps its output, as layers that share key-value states do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HIDDEN, HIDDEN)
        self.kept: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept = self.linear(x)
        return x + torch.tanh(self.kept)


class Encoder(nn.Module):
    """Three blocks; what else happens between them is `between`, called with the encoder, its input and the number."""

    def __init__(self, between: Callable[[Any, torch.Tensor, int], torch.Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block() for _ in range(3)])
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            x = self.between(self, layer(x), number)
        return x


class Model(nn.Module):
    def __init__(self, between: Callable[[Any, torch.Tensor, int], torch.Tensor]) -> None:
        super().__init__()
        self.embed = nn.Linear(INPUTS, HIDDEN)
        self.encoder = Encoder(between)
        self.classifier = nn.Linear(HIDDEN, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.encoder(self.embed(x)).mean(dim=1))
        return logits


def nothing(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    return x


def parents_dropout(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    return F.dropout(x, 0.5, training=encoder.training)


def layer_drop(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    if encoder.training and torch.rand(()) < 0.5:
        return x * 0.0
    return x


def blind_dropout(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    """Is random whatever mode its module is in."""
    return F.dropout(x, 0.5, training=True) if number == 0 else x


def shared_states(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    """The last block reads what the first has kept from its forward."""
    first: Any = encoder.layers[0]
    return x + first.kept if number == 2 else x


def in_batch(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    """A row's numbers depend on its neighbours."""
    return x - x.mean(dim=0, keepdim=True) if number == 0 else x


def early_output(encoder: Encoder, x: torch.Tensor, number: int) -> torch.Tensor:
    """The head reads the sum of all blocks."""
    encoder.__dict__["sum"] = x if number == 0 else encoder.__dict__["sum"] + x
    return encoder.__dict__["sum"] if number == 2 else x


def verdict(between: Callable[[Any, torch.Tensor, int], torch.Tensor]) -> str | None:
    """Trains the top block; what the proof finds on two batches. Recorded rows come from batches of other rows."""
    torch.manual_seed(0)
    model = Model(between)
    layout = find_layout(model)
    set_trainable(model, layout, select(layout, ["head", "blocks[-1:]"], ""), FrozenPolicy())
    inputs = torch.randn(4 * ROWS, WIDTH, INPUTS)
    model.eval()
    plans = [BatchPlan(torch.arange(start, start + ROWS).numpy(), ROWS, WIDTH) for start in range(0, 4 * ROWS, ROWS)]
    with torch.inference_mode():
        found = survey(model, layout, [2], "train", plans, lambda plan: model(inputs[plan.rows]))[2]
        if isinstance(found, NotCacheable):
            return str(found)
        assert isinstance(found, EntryFacts)
        facts = found.classes[WIDTH]
        (name,) = facts.recorded
        outputs = [capture(model, partial(model, inputs[plan.rows]), [name]).outputs[name] for plan in plans]
    recorded = torch.cat([describe(output)[1][0].clone() for output in outputs])
    replay = Replay(model, facts.structures, writable=True)

    def step(rows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model(inputs[rows])
        return logits.square().sum()

    def replayed(rows: torch.Tensor) -> torch.Tensor:
        with replay.giving(facts.structures, {name: [recorded[rows]]}, torch.device("cpu")):
            return step(rows)

    batches = [torch.tensor([1, 7, 12, 4]), torch.tensor([14, 2, 9, 5])]
    return first_difference(
        model, [partial(step, rows) for rows in batches], [partial(replayed, rows) for rows in batches]
    )


@pytest.mark.parametrize("between", [nothing, parents_dropout, layer_drop])
def test_what_freezing_holds_still_replays(between: Callable[..., torch.Tensor]) -> None:
    assert verdict(between) is None


@pytest.mark.parametrize(
    ("between", "reason"),
    [(blind_dropout, "differs"), (shared_states, "differs"), (in_batch, "differs"), (early_output, "NaN")],
)
def test_what_cannot_be_replayed_is_refused(between: Callable[..., torch.Tensor], reason: str) -> None:
    found = verdict(between)
    assert found is not None
    assert reason in found
