"""Activation checkpointing and compilation of the blocks that the backward enters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.tiny_jobs import GRADUAL, TinyJob, WatchedTask, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.errors import COMPILE_FAILED
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import resolve_schedule
from thaw_trainer.freezing.switch import set_trainable
from thaw_trainer.loop.blocks import treat_blocks
from thaw_trainer.slots.gang import describe

RECOMPUTED = {"training.activationCheckpointing": True}


@pytest.mark.parametrize("changes", [{}, GRADUAL, {"freezing": {"preset": "lisa", "depth": 1}}])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_recomputing_changes_no_loss(tiny: TinyJob, tmp_path: Path, changes: dict[str, Any], accumulation: int) -> None:
    changes = changes | {"training.gradientAccumulation": accumulation}
    plain = tiny.run(tiny.spec(changes), str(tmp_path / "plain"))
    recomputed = tiny.run(tiny.spec(changes | RECOMPUTED), str(tmp_path / "recomputed"))
    assert recomputed.losses == plain.losses
    assert recomputed.metrics == plain.metrics


class Counted(WatchedTask):
    """Counts what training steps do: forward passes of each block, and numbers that are kept for the backward."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.calls = Counter[int]()
        self.steps = self.kept = 0

    def build(self) -> nn.Module:
        """See Task."""
        model = super().build()
        for number, names in enumerate(find_layout(model).block_modules):
            # A part of the block: the block's own forward is what is replaced.
            part = model.get_submodule(f"{names[0]}.intermediate")
            part.register_forward_hook(lambda *_, number=number: self.calls.update([number]))
        return model

    def step(self, model: nn.Module, batch: Any, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task."""
        self.steps += 1
        with torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept):
            return super().step(model, batch, device)

    def outputs(self, model: nn.Module, batch: Any, device: torch.device) -> Any:
        """See Task."""
        before = self.calls.copy()
        outputs = super().outputs(model, batch, device)
        self.calls = before
        return outputs

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        self.kept += tensor.numel()
        return tensor


def count(tiny: TinyJob, changes: dict[str, Any], folder: Path) -> Counted:
    spec = tiny.spec({"training.epochs": 1} | changes)
    task = Counted(spec, tiny.store(spec))
    run(task, spec, folder)
    return task


def test_only_blocks_that_the_backward_enters_are_computed_twice(tiny: TinyJob, tmp_path: Path) -> None:
    counted = count(tiny, RECOMPUTED | {"freezing": {"preset": "last-n", "depth": 2}}, tmp_path)
    assert counted.calls == {0: counted.steps, 1: 2 * counted.steps, 2: 2 * counted.steps}


def test_a_frozen_block_above_a_trained_one_is_computed_twice(tiny: TinyJob, tmp_path: Path) -> None:
    counted = count(tiny, RECOMPUTED | {"freezing": {"preset": "first-n", "depth": 1}}, tmp_path)
    assert set(counted.calls.values()) == {2 * counted.steps}


def test_less_is_kept_for_the_backward(tiny: TinyJob, tmp_path: Path) -> None:
    plain, recomputed = count(tiny, {}, tmp_path / "plain"), count(tiny, RECOMPUTED, tmp_path / "recomputed")
    assert recomputed.kept < 0.5 * plain.kept


def treated(tiny: TinyJob, spec: FineTuneJobSpec, model: nn.Module) -> list[list[str]]:
    """What each phase in turn treats."""
    layout, found = find_layout(model), []
    for phase in resolve_schedule(spec.freezing, spec.training, layout):
        set_trainable(model, layout, phase.train)
        found.append(treat_blocks(model, layout, phase.train, spec.training))
        there = [name for name, module in model.named_modules() if "forward" in module.__dict__]
        assert sorted(there) == sorted(found[-1]), "an earlier phase leaves nothing behind"
    return found


def test_each_phase_treats_its_own_blocks(tiny: TinyJob) -> None:
    spec = tiny.spec(GRADUAL | RECOMPUTED)
    found = treated(tiny, spec, tiny.task(spec).build())
    assert [len(names) for names in found] == [0, 1, 2, 3, 3]


def test_nothing_is_treated_unasked(tiny: TinyJob) -> None:
    spec = tiny.spec(GRADUAL)
    assert treated(tiny, spec, tiny.task(spec).build()) == [[]] * 5


def test_a_block_with_running_statistics_is_not_computed_again(tiny: TinyJob) -> None:
    spec = tiny.spec(RECOMPUTED)
    model = nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(2)), nn.Sequential(nn.Linear(4, 4))
    )
    layout = find_layout(model)
    treat_blocks(model, layout, frozenset(layout.place), spec.training)
    assert [name for name, module in model.named_modules() if "forward" in module.__dict__] == ["2"]


def test_a_graph_for_each_shape_is_not_too_many(tiny: TinyJob) -> None:
    """Dynamo would give up after eight and compute the rest uncompiled."""
    spec = tiny.spec({"training.compile": True})
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(2)))
    layout = find_layout(model)
    treat_blocks(model, layout, frozenset(layout.place), spec.training)
    torch._dynamo.utils.counters.clear()
    for block in model:
        block.compile(dynamic=False, backend="eager")
    for rows in range(2, 22):
        model(torch.zeros(rows, 4))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 20


def test_compiled_blocks_train_as_uncompiled_ones(tiny: TinyJob, tmp_path: Path) -> None:
    """With dropout; two phases, so that the graphs of the first are left."""
    phases = [
        {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 1}},
        {"name": "more", "train": ["head", "blocks[-2:]"], "until": {"epochs": 1}},
    ]
    changes = {"freezing": {"phases": phases}, "training.epochs": 2, "training.optimizer": {"name": "sgd", "lr": 0.01}}
    plain = tiny.run(tiny.spec(changes), str(tmp_path / "plain"))
    torch._dynamo.utils.counters.clear()
    compiled = tiny.run(tiny.spec(changes | {"training.compile": True}), str(tmp_path / "compiled"))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2
    for one, other in zip(compiled.losses, plain.losses, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize(
    "error", [torch._dynamo.exc.TorchDynamoException("of a graph"), RuntimeError("Failed to find C compiler.")]
)
def test_a_failed_compilation_names_its_field(error: Exception) -> None:
    failure = describe(error)
    assert failure["reason"] == COMPILE_FAILED
    assert failure["message"].startswith("spec.training.compile: ")
