"""Replay through the model's own forward, for every family: the same bits, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.unit.tiny_models import FAMILIES, family_model, token_ids
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.selectors import select
from thaw_trainer.freezing.switch import set_trainable
from thaw_trainer.prefix.capture import capture
from thaw_trainer.prefix.cut import boundary_of
from thaw_trainer.prefix.entry import EntryFacts
from thaw_trainer.prefix.replay import Replay
from thaw_trainer.prefix.structure import describe
from thaw_trainer.prefix.survey import NotCacheable, survey

ROWS, WIDTH = 5, 8
REFUSED = {
    "funnel": "its decoder reads what its first blocks gave",
    "squeezebert": "calls its blocks' forward, where no hook sees them",
    "xlnet": "has its rows in the second dimension",
}
"""Families that are refused, and why; every other one must replay at every boundary."""


def inputs() -> dict[str, torch.Tensor]:
    """Ragged rows."""
    mask = torch.ones(ROWS, WIDTH, dtype=torch.long)
    mask[::2, :3] = 0
    return {"input_ids": token_ids(ROWS, WIDTH), "attention_mask": mask}


def surveyed(model: nn.Module, layout: Layout, boundary: int) -> EntryFacts | NotCacheable:
    """The survey of one batch."""
    plan = BatchPlan(torch.arange(ROWS).numpy(), ROWS, WIDTH)

    def run(plan: BatchPlan) -> object:
        return model(**{name: tensor[plan.rows] for name, tensor in inputs().items()})

    model.eval()
    with torch.inference_mode():
        return survey(model, layout, [boundary], "train", [plan], run)[boundary]


def outcome(model: nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and gradients of one seeded step in train mode."""
    torch.manual_seed(7)
    logits = model(**inputs()).logits
    logits.square().sum().backward()
    gradients = {name: tensor.grad for name, tensor in model.named_parameters() if tensor.grad is not None}
    for tensor in model.parameters():
        tensor.grad = None
    return logits.detach(), gradients


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_replays_bit_for_bit_at_every_boundary(family: str) -> None:
    model = family_model(family)
    layout = find_layout(model)
    replayed = 0
    for boundary in range(1, layout.blocks + 1):
        train = select(layout, ["head"] + ([f"blocks[{boundary}:]"] if boundary < layout.blocks else []), "")
        set_trainable(model, layout, train)
        assert boundary_of(layout, train) == boundary
        found = surveyed(model, layout, boundary)
        if isinstance(found, NotCacheable):
            continue
        facts = found.classes[WIDTH]
        with torch.inference_mode():
            kept = capture(model, lambda: model(**inputs()), facts.recorded).outputs
        recorded = {name: [tensor.clone() for tensor in describe(kept[name])[1]] for name in facts.recorded}
        model.train()
        logits, gradients = outcome(model)
        replay = Replay(model, facts.structures, writable=True)
        with replay.giving(facts.structures, recorded, torch.device("cpu")):
            again, again_gradients = outcome(model)
        replay.remove()
        if torch.equal(logits, again):
            assert gradients.keys() == again_gradients.keys()
            assert all(torch.equal(gradients[name], again_gradients[name]) for name in gradients)
            replayed += 1
        else:
            assert torch.isnan(again).any(), "what is left out and is read must be NaN, never a wrong number"
        assert torch.equal(outcome(model)[0], logits), "a stand-in that was removed leaves nothing behind"
    assert replayed == (0 if family in REFUSED else layout.blocks)
