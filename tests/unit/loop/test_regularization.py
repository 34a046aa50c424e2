"""Regularizers: each does what its formula says, and without it the test fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.unit.prefix.sites import site
from tests.unit.tiny_jobs import GRADUAL, NO_DROPOUT, Killed, TinyJob, die_after, labelled_texts, run
from tests.unit.tiny_models import FAMILIES, family_model, token_ids
from thaw_api.job import FineTuneJobSpec
from thaw_api.training import RegularizationSpec, TrainingSpec
from thaw_trainer.data.batches import plan_epoch
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.loop.checkpoint import Checkpoints
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.loop.regularization import average, regularize
from thaw_trainer.tasks.protocol import Share
from thaw_trainer.tasks.row_losses import row_losses, symmetric_divergence

PLAIN: dict[str, Any] = {
    "training.optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weightDecay": 0.0},
    "training.schedule": {"name": "constant", "warmup": 0.0},
    "training.clipNorm": 0.0,
    "training.epochs": 2,
}
"""Each step moves a tensor by its gradient times 0.1."""


def written_out(
    tiny: TinyJob, spec: FineTuneJobSpec, epochs: int, decay: float = 0.0, pull: float = 0.0
) -> dict[str, torch.Tensor]:
    """The same training as a loop over unpadded rows; averages and pulls as their papers write them, a tensor at a time
    and in double precision."""
    task = tiny.task(spec)
    seed_stream(spec.training.seed, "head")
    model = task.build().train()
    rate, layout, rows = spec.training.optimizer.lr, find_layout(model), task.rows["train"]
    first = {name: tensor.detach().double().clone() for name, tensor in model.named_parameters()}
    means: dict[str, torch.Tensor] = {}
    steps = 0
    for epoch in range(epochs):
        for plan in plan_epoch(rows.lengths, task.widths, spec.training.batch_size, (spec.training.seed, epoch)):
            texts = [rows.tokens[rows.offsets[row] : rows.offsets[row + 1]] for row in plan.rows[: plan.filled]]
            logits = torch.cat(
                [model(input_ids=torch.from_numpy(each.astype(np.int64))[None]).logits for each in texts]
            )
            loss = F.cross_entropy(logits, torch.from_numpy(rows.label(plan.rows[: plan.filled])))
            model.zero_grad()
            torch.autograd.backward(loss)
            for name, tensor in model.named_parameters():
                moved = tensor.detach().double() - rate * tensor.grad.double()  # type: ignore[union-attr]
                if layout.place[name] < layout.blocks:
                    moved -= rate * pull * (moved - first[name])
                tensor.data.copy_(moved)
                kept = min(decay, steps / (9 + steps)) if steps else 0.0
                means[name] = kept * means.get(name, 0.0) + (1 - kept) * moved
            steps += 1
    return means if decay else {name: tensor.detach().double() for name, tensor in model.named_parameters()}


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    return max(float((found[name].double() - expected[name]).abs().max()) for name in expected)


# Moving averages.


def test_the_average_of_the_weights_is_what_is_kept_as_best(still: TinyJob, tmp_path: Path) -> None:
    changes = PLAIN | {"training.regularization": {"emaDecay": 0.7}, "search.objective": {"metric": "loss"}}
    spec = still.spec(changes)
    told = run(still.task(spec), spec, tmp_path / "trial")
    epoch = told.reports[-1]["best_epoch"]
    best = load_file(Checkpoints(tmp_path / "trial").best_file(epoch))
    assert difference(best, written_out(still, spec, epoch, decay=0.7)) < 2e-5
    raw = load_file(tmp_path / "trial" / "epoch-0002" / "weights.safetensors")
    assert difference(raw, written_out(still, spec, 2)) < 2e-5, "it goes on with the weights themselves"
    assert difference(best, written_out(still, spec, epoch)) > 1e-3


def test_what_is_measured_is_the_average(still: TinyJob, tmp_path: Path) -> None:
    spec = still.spec(PLAIN | {"training.regularization": {"emaDecay": 0.7}})
    task = still.task(spec)
    run(task, spec, tmp_path / "trial")
    assert difference(task.snapshots[0], written_out(still, spec, 1, decay=0.7)) < 2e-5


def test_an_average_goes_on_after_a_kill_bit_for_bit(tiny: TinyJob, tmp_path: Path) -> None:
    spec = tiny.spec(GRADUAL | {"training.regularization": {"emaDecay": 0.9}})
    whole = run(tiny.task(spec), spec, tmp_path / "whole")
    with pytest.raises(Killed):
        run(tiny.task(spec), spec, tmp_path / "killed", answer=die_after(3))
    resumed = run(tiny.task(spec), spec, tmp_path / "killed", reported=3)
    assert resumed.metrics == whole.metrics[3:]
    files = [Checkpoints(tmp_path / name).best_file(whole.reports[-1]["best_epoch"]) for name in ("whole", "killed")]
    first, second = (load_file(file) for file in files)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_tensor_that_has_no_gradient_yet_is_averaged_from_its_first_one_on() -> None:
    """AdamW makes its moments where a tensor has no state at all."""
    first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.AdamW([first, second], lr=0.1, fused=True)
    for step in range(4):
        first.grad = torch.ones(2)
        second.grad = torch.ones(2) if step > 1 else None
        optimizer.step()
        average(optimizer, 0.9)
    assert set(optimizer.state[second]) == {"step", "exp_avg", "exp_avg_sq", "average", "averaged_steps"}
    assert [int(optimizer.state[each]["averaged_steps"]) for each in (first, second)] == [3, 1]


def test_where_the_best_epoch_is_restored_averages_begin_anew(tiny: TinyJob, tmp_path: Path) -> None:
    phases = [
        {"name": "wild", "train": ["all"], "until": {"epochs": 4}, "lr": {"base": 0.3}},
        {"name": "calm", "train": ["all"], "until": {"fraction": 1.0}, "restoreBest": True, "lr": {"base": 1e-9}},
    ]
    changes = {"freezing": {"phases": phases}, "training.epochs": 5, "search.objective": {"metric": "loss"}}
    spec = tiny.spec(changes | {"training.regularization": {"emaDecay": 0.9999}})
    told = run(tiny.task(spec), spec, tmp_path / "trial")
    best = min(metrics["loss"] for metrics in told.metrics[:4])
    assert told.metrics[3]["loss"] > best, "else nothing is restored"
    assert told.metrics[4]["loss"] == pytest.approx(best, rel=1e-3)


# The pull towards the pretrained weights.


def test_tensors_below_the_head_are_pulled_to_their_pretrained_values(still: TinyJob, tmp_path: Path) -> None:
    spec = still.spec(PLAIN | {"training.regularization": {"l2Sp": 3.0}})
    run(still.task(spec), spec, tmp_path / "trial")
    found = load_file(tmp_path / "trial" / "epoch-0002" / "weights.safetensors")
    assert difference(found, written_out(still, spec, 2, pull=3.0)) < 2e-5
    assert difference(found, written_out(still, spec, 2)) > 1e-3


def test_a_resumed_trial_is_pulled_to_the_same_values(tiny: TinyJob, tmp_path: Path) -> None:
    spec = tiny.spec({"training.regularization": {"l2Sp": 2.0}})
    whole = run(tiny.task(spec), spec, tmp_path / "whole")
    with pytest.raises(Killed):
        run(tiny.task(spec), spec, tmp_path / "killed", answer=die_after(2))
    assert run(tiny.task(spec), spec, tmp_path / "killed", reported=2).losses == whole.losses[2:]


# Two passes.


def test_the_divergence_of_two_passes_is_that_of_its_formula() -> None:
    first, second = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p, q = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (first.numpy(), second.numpy()))
    expected = (p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)
    assert symmetric_divergence(first, second).numpy() == pytest.approx(expected, rel=1e-5)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    passes = iter((first, second))
    training = TrainingSpec(regularization=RegularizationSpec(r_drop=2.0))
    found = row_losses(
        lambda: next(passes).float(), lambda logits: F.cross_entropy(logits, labels, reduction="none"), training
    )
    own = [-np.log(each[np.arange(6), labels.numpy()]) for each in (p, q)]
    assert found.numpy() == pytest.approx((own[0] + own[1]) / 2 + 2.0 / 4 * expected, rel=1e-4)


def test_without_dropout_two_passes_are_one(still: TinyJob, tmp_path: Path) -> None:
    curves = [
        still.run(
            still.spec(PLAIN | {"training.regularization": {"rDrop": weight}}), str(tmp_path / str(weight))
        ).losses
        for weight in (0.0, 1.0)
    ]
    for found, expected in zip(curves[1], curves[0], strict=True):
        assert found == pytest.approx(expected, abs=1e-5)


def test_with_dropout_passes_are_brought_together(tiny: TinyJob, tmp_path: Path) -> None:
    """Of the weights that come out, two passes with dropout differ less."""
    divergences = []
    for weight in (0.0, 30.0):
        spec = tiny.spec({"training.regularization": {"rDrop": weight, "dropout": 0.3}, "training.epochs": 6})
        task = tiny.task(spec)
        run(task, spec, tmp_path / str(weight))
        torch.manual_seed(0)
        model = task.built[0].train()
        batch = tiny.batch(spec)
        outputs = [task.outputs(model, batch, torch.device("cpu"))["logits"] for _ in range(20)]
        pairs = zip(outputs[::2], outputs[1::2], strict=True)
        divergences.append(float(torch.stack([symmetric_divergence(*pair).mean() for pair in pairs]).mean().detach()))
    assert divergences[1] < divergences[0] / 2


# Dropout and skipped blocks.


def two_passes(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    found = [model(input_ids=token_ids()).logits for _ in range(2)]
    return found[0], found[1]


def regularized(family: str, **asked: Any) -> tuple[torch.nn.Module, Layout]:
    model = family_model(family)
    layout = find_layout(model)
    regularize(model, layout, RegularizationSpec(**asked))
    return model, layout


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2", "electra"])
def test_dropout_below_the_head_is_set(family: str) -> None:
    """Rates of 0 leave the head's alone, which is put out here; other rates change what a pass computes."""
    model, layout = regularized(family, dropout=0.0)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and not any(
            name.startswith(block) for names in layout.block_modules for block in names
        ):
            module.p = 0.0
    first, second = two_passes(model.train())
    assert torch.equal(first, second)
    dropping, _ = regularized(family, dropout=0.5)
    first, second = two_passes(dropping.train())
    assert not torch.equal(first, second)
    first, second = two_passes(dropping.eval())
    assert torch.equal(first, second)


def test_every_rate_of_the_blocks_is_set() -> None:
    for family in FAMILIES:
        model, layout = regularized(family)
        try:
            regularize(model, layout, RegularizationSpec(dropout=0.37))
        except TrainerError:
            continue
        blocks = [model.get_submodule(name) for names in layout.block_modules for name in names]
        rates = {module.p for block in blocks for module in block.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates <= {0.37}, family


def test_a_model_without_dropout_is_refused() -> None:
    model = torch.nn.Sequential()
    model.stem = torch.nn.Linear(2, 2)
    model.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(2)])
    layout = find_layout(model)
    with pytest.raises(TrainerError, match=r"spec\.training\.regularization\.dropout: Sequential has no dropout"):
        regularize(model, layout, RegularizationSpec(dropout=0.1))


@settings(deadline=None, max_examples=20)
@given(rate=st.floats(0.0, 0.95), seed=st.integers(0, 1000))
def test_rows_skip_blocks_in_proportion_to_their_height(rate: float, seed: int) -> None:
    model = torch.nn.Module()
    model.stem = torch.nn.Linear(2, 2)
    model.blocks = torch.nn.ModuleList([torch.nn.Linear(2, 2) for _ in range(3)])
    regularize(model, find_layout(model), RegularizationSpec(stochastic_depth=rate))
    torch.manual_seed(seed)
    rows = torch.randn(4000, 2)
    for height, block in enumerate(model.blocks, start=1):
        found = block.train()(rows)
        skipped = (found == rows).all(1)
        assert torch.equal(found[~skipped], block.eval()(rows)[~skipped]), "what is not skipped is as ever"
        assert float(skipped.float().mean()) == pytest.approx(rate * height / 3, abs=0.04)


def test_frozen_blocks_are_not_skipped(still: TinyJob, tmp_path: Path) -> None:
    changes = PLAIN | {"freezing": {"preset": "head-only"}}
    plain = still.run(still.spec(changes), str(tmp_path / "plain"))
    skipping = still.run(
        still.spec(changes | {"training.regularization": {"stochasticDepth": 0.9}}), str(tmp_path / "skipping")
    )
    assert plain.losses == skipping.losses
    whole = still.run(still.spec(PLAIN), str(tmp_path / "whole"))
    skips = still.run(
        still.spec(PLAIN | {"training.regularization": {"stochasticDepth": 0.9}}), str(tmp_path / "skips")
    )
    assert whole.losses[0] != skips.losses[0]


# With the prefix cache.


def test_a_regularized_trial_that_replays_its_prefix_trains_the_same_bits(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path)
    asked = {"emaDecay": 0.9, "l2Sp": 1.0, "rDrop": 1.0, "stochasticDepth": 0.3, "dropout": 0.2}
    changes = {"freezing": {"preset": "last-n", "depth": 2, "cache": {"mode": "always"}}, "training.epochs": 3}
    spec = tiny.spec(changes | {"training.regularization": asked})
    plain = run(tiny.task(spec), spec, tmp_path / "plain")
    cached = run(tiny.task(spec), spec, tmp_path / "cached", prefix=site(tiny, spec, tmp_path / "cache"))
    assert cached.reports[-1]["prefix"]["blocks"] == 1
    assert cached.losses == plain.losses
    assert cached.metrics == plain.metrics


# Classes that count alike.


def test_rare_classes_count_as_much_as_frequent_ones(tmp_path: Path) -> None:
    rows = labelled_texts(90)
    few = [row for number, row in enumerate(rows) if row[1] != "red" or number < 30]
    tiny = TinyJob(tmp_path, few, **NO_DROPOUT)
    balanced = tiny.spec(PLAIN | {"training.classWeights": "balanced"})
    plain = tiny.spec(PLAIN)
    task = tiny.task(balanced)
    seed_stream(balanced.training.seed, "head")
    model = task.build().train()
    batch = next(iter(task.batches("train", 0, Share())))
    counted = batch.weight > 0
    labels = torch.from_numpy(batch.label[counted])
    every = torch.from_numpy(task.rows["train"].label(np.arange(len(task.rows["train"].id))))
    weights = len(every) / (3 * torch.bincount(every, minlength=3).float())
    logits = task.outputs(model, batch, torch.device("cpu"))["logits"].detach()[torch.from_numpy(counted)]
    expected = F.cross_entropy(logits, labels, weight=weights)
    loss, count = task.step(model, batch, torch.device("cpu"))
    assert float(loss.detach()) / count == pytest.approx(float(expected), rel=1e-5)
    loss, count = tiny.task(plain).step(model, batch, torch.device("cpu"))
    assert float(loss.detach()) / count == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-5)
