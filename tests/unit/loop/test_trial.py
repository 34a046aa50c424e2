"""One trial: what it trains, and that its losses are right."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.unit.tiny_jobs import (
    GRADUAL,
    TinyJob,
    labelled_texts,
    run,
)
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import plan_epoch
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import resolve_schedule
from thaw_trainer.loop.checkpoint import Checkpoints, load_moved
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.tasks.protocol import Share, join_predictions, predict

REPOSITORY = Path(__file__).parents[3]
SGD = {"training.optimizer": {"name": "sgd", "lr": 0.1}}


def phases_of(tiny: TinyJob, spec: FineTuneJobSpec) -> dict[str, frozenset[str]]:
    layout = find_layout(tiny.task(spec).build())
    return {phase.name: phase.train for phase in resolve_schedule(spec.freezing, spec.training, layout)}


# What is trained, and what is not.


def test_each_phase_moves_what_it_trains_and_leaves_the_rest_bit_for_bit(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec(GRADUAL)
    task = tiny.task(spec)
    told = run(task, spec, Path(folder))
    phases = phases_of(tiny, spec)
    assert [report["phase"] for report in told.reports] == ["head", "top-1", "top-2", "top-3", "all"]
    torch.manual_seed(0)
    seed_stream(spec.training.seed, "head")
    pristine = {name: tensor.clone() for name, tensor in tiny.task(spec).build().named_parameters()}
    before = pristine
    for report, after in zip(told.reports, task.snapshots, strict=True):
        train = phases[report["phase"]]
        moved = {name for name in pristine if not torch.equal(before[name], after[name])}
        assert moved <= train
        assert moved >= {name for name in train if not name.endswith("key.bias")}, "a key's bias has no gradient"
        before = after


def test_reports_say_how_much_is_trained(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec(GRADUAL)
    told = tiny.run(spec, folder)
    model = tiny.task(spec).build()
    total = sum(tensor.numel() for tensor in model.parameters())
    assert {report["total"] for report in told.reports} == {total}
    trainable = [report["trainable"] for report in told.reports]
    assert trainable == sorted(set(trainable))
    assert trainable[-1] == total
    assert trainable[0] == sum(model.get_parameter(name).numel() for name in phases_of(tiny, spec)["head"])


def test_a_block_that_is_frozen_again_stands_still(tiny: TinyJob, folder: str) -> None:
    phases = [
        {"name": name, "train": train, "until": {"epochs": 1}}
        for name, train in (("low", ["head", "blocks[0]"]), ("high", ["head", "blocks[2]"]), ("again", ["blocks[0]"]))
    ]
    spec = tiny.spec({"freezing": {"phases": phases}})
    task = tiny.task(spec)
    run(task, spec, Path(folder))
    first, second, third = task.snapshots
    low = [name for name in first if ".layer.0." in name and name.endswith("weight")]
    head = [name for name in first if name.startswith("classifier")]
    assert all(torch.equal(first[name], second[name]) for name in low)
    assert not any(torch.equal(second[name], third[name]) for name in low)
    assert all(torch.equal(second[name], third[name]) for name in head)


# The arithmetic, against loops written out.


def plain_loop(tiny: TinyJob, spec: FineTuneJobSpec, epochs: int) -> list[list[float]]:
    """Fine-tuning as a textbook writes it: one row list after another, mean loss, torch's optimizer and clipping."""
    task = tiny.task(spec)
    seed_stream(spec.training.seed, "head")
    model = task.build().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=spec.training.optimizer.lr, momentum=0.9)
    rows = task.rows["train"]
    curve = []
    for epoch in range(epochs):
        losses = []
        for plan in plan_epoch(rows.lengths, task.widths, spec.training.batch_size, (spec.training.seed, epoch)):
            texts = [rows.tokens[rows.offsets[row] : rows.offsets[row + 1]] for row in plan.rows[: plan.filled]]
            logits = torch.cat(
                [model(input_ids=torch.from_numpy(text.astype(np.int64))[None]).logits for text in texts]
            )
            labels = torch.from_numpy(rows.label(plan.rows[: plan.filled]))
            loss = F.cross_entropy(logits, labels, label_smoothing=spec.training.label_smoothing)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            if spec.training.clip_norm:
                torch.nn.utils.clip_grad_norm_(model.parameters(), spec.training.clip_norm)
            optimizer.step()
            losses.append(loss.item())
        curve.append(losses)
    return curve


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training.clipNorm": 0.01},
        {"training.clipNorm": 0.0, "training.optimizer.lr": 0.3},
        {"training.labelSmoothing": 0.3},
        {"training.gradientAccumulation": 4},
    ],
)
def test_losses_are_those_of_a_plain_loop_over_unpadded_rows(
    still: TinyJob, folder: str, changes: dict[str, Any]
) -> None:
    spec = still.spec(
        SGD
        | {"training.optimizer.weightDecay": 0.0, "training.schedule": {"name": "constant", "warmup": 0.0}}
        | {"training.epochs": 2}
        | changes
    )
    told = still.run(spec, folder)
    for found, expected in zip(told.losses, plain_loop(still, spec, 2), strict=True):
        assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_changes_no_loss(still: TinyJob, tmp_path: Path, parts: int) -> None:
    whole = still.run(still.spec(GRADUAL), str(tmp_path / "whole"))
    divided = still.run(still.spec(GRADUAL | {"training.gradientAccumulation": parts}), str(tmp_path / "divided"))
    for found, expected in zip(divided.losses, whole.losses, strict=True):
        assert found == pytest.approx(expected, abs=1e-2)
    assert divided.losses[0] == pytest.approx(whole.losses[0], abs=1e-5)


def test_without_a_limit_gradients_are_not_clipped(still: TinyJob, tmp_path: Path) -> None:
    def curve(clip: float) -> list[list[float]]:
        return still.run(still.spec(SGD | {"training.clipNorm": clip}), str(tmp_path / str(clip))).losses

    assert curve(0.0) == curve(1e9)
    assert curve(0.0) != curve(0.01)


def test_every_epochs_rate_follows_the_span_of_the_run_or_the_phase(still: TinyJob, folder: str) -> None:
    """Without momentum and clipping, a step is the rate times the gradient: two spans differ as their rates do."""
    curves = {}
    for span in ("run", "phase"):
        spec = still.spec(GRADUAL | {"training.schedule": {"name": "linear", "warmup": 0.0, "span": span}})
        curves[span] = still.run(spec, f"{folder}-{span}").losses
    assert curves["run"][0][0] == curves["phase"][0][0]
    assert curves["run"][0][-1] != curves["phase"][0][-1], "at the end of its phase the rate of the phase is low"


def test_bfloat16_runs_and_stays_near(still: TinyJob, tmp_path: Path) -> None:
    exact = still.run(still.spec(), str(tmp_path / "exact"))
    half = still.run(still.spec({"training.precision": "bfloat16"}), str(tmp_path / "half"))
    assert half.losses != exact.losses
    for found, expected in zip(half.losses, exact.losses, strict=True):
        assert found == pytest.approx(expected, abs=0.1)


def test_weights_of_bfloat16_train(still: TinyJob, folder: str) -> None:
    told = still.run(still.spec({"model.dtype": "bfloat16", "training.epochs": 1}), folder)
    assert all(math.isfinite(loss) for loss in told.losses[0])


def test_a_model_learns_what_is_easy(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec({"training.epochs": 16}), folder)
    assert told.reports[-1]["train_loss"] < 0.6 * told.reports[0]["train_loss"]
    assert told.metrics[-1]["accuracy"] > told.metrics[0]["accuracy"] + 0.1


def test_held_out_rows_are_measured_without_dropout(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec({"training.epochs": 1})
    told = tiny.run(spec, folder)
    task = tiny.task(spec)
    seed_stream(spec.training.seed, "head")
    model = task.build().eval()
    load_moved(model, Checkpoints(Path(folder)).best_file(1))
    with torch.inference_mode():
        parts = [predict(task, model, batch, torch.device("cpu")) for batch in task.batches("validation", 0, Share())]
    assert task.metrics(join_predictions(parts), full=False) == told.metrics[0]


def test_a_rows_logits_do_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    tiny = TinyJob(tmp_path, labelled_texts(240))
    spec = tiny.spec()
    task = tiny.task(spec)
    assert len(task.widths) > 2
    seed_stream(0, "head")
    model = task.build().eval()
    seen: dict[int, np.ndarray[Any, Any]] = {}
    device = torch.device("cpu")
    with torch.inference_mode():
        for epoch in range(4):
            for batch in task.batches("train", epoch, Share()):
                found = predict(task, model, batch, device)
                for row, logits in zip(found["id"], found["logits"], strict=True):
                    assert np.array_equal(seen.setdefault(int(row), logits), logits)
    assert len(seen) == len(task.rows["train"].id)


# Ends.
