from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.unit.tiny_jobs import (
    GRADUAL,
    NO_DROPOUT,
    Killed,
    Report,
    Run,
    TinyJob,
    WatchedTask,
    die_after,
    labelled_texts,
    run,
)
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import plan_epoch
from thaw_trainer.errors import LOSS_NOT_FINITE, SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.schedule import resolve_schedule
from thaw_trainer.loop.checkpoint import Checkpoints, load_moved
from thaw_trainer.loop.randomness import seed_stream
from thaw_trainer.tasks.protocol import Share, join_predictions

REPOSITORY = Path(__file__).parents[3]
SGD = {"training.optimizer": {"name": "sgd", "lr": 0.1}}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT with dropout."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT without dropout."""
    return TinyJob(tmp_path_factory.mktemp("still"), **NO_DROPOUT)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own for each test's checkpoints."""
    return str(tmp_path / "trial")


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
            labels = torch.from_numpy(rows.label[plan.rows[: plan.filled]])
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
        parts = [task.predict(model, batch, torch.device("cpu")) for batch in task.batches("validation", 0, Share())]
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
                found = task.predict(model, batch, device)
                for row, logits in zip(found["id"], found["logits"], strict=True):
                    assert np.array_equal(seen.setdefault(int(row), logits), logits)
    assert len(seen) == len(task.rows["train"].id)


# Ends.


def test_an_answer_of_no_stops_the_trial_after_that_epoch(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(), folder, answer=lambda report: report["epoch"] < 2)
    assert (len(told.reports), told.state) == (2, "stopped")


def test_a_trial_that_had_its_last_epoch_succeeded_whatever_the_answer(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(), folder, answer=lambda report: not report["last"])
    assert told.state == "succeeded"
    assert [report["last"] for report in told.reports] == [False, False, False, True]


def test_early_stopping_ends_the_last_phase_and_says_so(still: TinyJob, folder: str) -> None:
    spec = still.spec(
        {
            "training.epochs": 30,
            "training.optimizer": {"lr": 1e-9},
            "training.earlyStopping": {"patience": 2},
            "freezing": {"preset": "gradual", "depth": 2},
        }
    )
    told = still.run(spec, folder)
    assert [report["phase"] for report in told.reports] == ["head", "top-1", "top-2", "top-2", "top-2"]
    assert told.state == "succeeded"


def test_a_phase_that_is_never_reached_is_a_warning(tiny: TinyJob, folder: str) -> None:
    phases = [{"name": f"p{index}", "train": ["head"], "until": {"epochs": 2}} for index in range(3)]
    told = tiny.run(tiny.spec({"freezing": {"phases": phases}, "training.epochs": 3}), folder)
    assert told.reports[-1]["warnings"] == ["phase p2 was never reached: training ended after 3 epochs"]
    assert told.reports[0]["warnings"] == []


class Exploding(WatchedTask):
    """Its loss is no number from the second epoch's third step on."""

    steps_taken = 0

    def step(self, model: nn.Module, batch: Any, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task."""
        loss, count = super().step(model, batch, device)
        self.steps_taken += 1
        return loss * (math.nan if self.steps_taken >= self.steps_per_epoch() + 3 else 1.0), count


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_step_and_field(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec()
    told: list[Report] = []

    def note(report: Report) -> bool:
        told.append(report)
        return True

    with pytest.raises(TrainerError) as caught:
        run(Exploding(spec, tiny.store(spec)), spec, Path(folder), answer=note)
    error = caught.value
    assert (error.reason, error.cause, error.field) == (LOSS_NOT_FINITE, "user", "spec.training.optimizer.lr")
    assert "nan in step 3 of epoch 2" in error.message
    assert [report["epoch"] for report in told] == [1]


def test_a_schedule_that_does_not_fit_the_model_is_refused(tiny: TinyJob, folder: str) -> None:
    phases = [{"name": "p", "train": ["head", "blocks[5]"], "until": {"epochs": 1}}]
    with pytest.raises(TrainerError) as caught:
        tiny.run(tiny.spec({"freezing": {"phases": phases}}), folder)
    assert caught.value.reason == SELECTOR_MATCHES_NOTHING
    assert caught.value.field == "spec.freezing.phases[0].train[1]"


# Going on from a checkpoint.

RESTORING = {
    "freezing": {
        "phases": [
            {"name": "head", "train": ["head"], "until": {"epochs": 2}},
            {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"epochs": 2}, "restoreBest": True},
            {"name": "all", "train": ["all"], "until": {"fraction": 1.0}, "restoreBest": True},
        ]
    },
    "training.epochs": 6,
}
SCHEDULES = {"gradual": GRADUAL, "restore-best": RESTORING, "sgd": GRADUAL | SGD, "plain": {}}


@pytest.fixture(scope="module")
def whole(tiny: TinyJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each schedule's run without interruption, with dropout."""
    root = tmp_path_factory.mktemp("whole")
    return {name: tiny.run(tiny.spec(changes), str(root / name)) for name, changes in SCHEDULES.items()}


def cases() -> Iterator[tuple[str, int]]:
    for name, changes in SCHEDULES.items():
        for epoch in range(1, changes.get("training.epochs", 4)):
            yield name, epoch


@pytest.mark.parametrize(("schedule", "epoch"), list(cases()))
def test_a_trial_goes_on_bit_for_bit_after_its_process_died(
    tiny: TinyJob, whole: dict[str, Run], folder: str, schedule: str, epoch: int
) -> None:
    spec = tiny.spec(SCHEDULES[schedule])
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(epoch))
    rest = tiny.run(spec, folder, reported=epoch)
    assert rest.reports == whole[schedule].reports[epoch:]
    assert rest.state == "succeeded"


def test_a_trial_survives_a_death_after_every_epoch(tiny: TinyJob, whole: dict[str, Run], folder: str) -> None:
    spec = tiny.spec(GRADUAL)
    for epoch in range(1, 5):
        with pytest.raises(Killed):
            tiny.run(spec, folder, answer=die_after(epoch), reported=epoch - 1)
    assert tiny.run(spec, folder, reported=4).reports == whole["gradual"].reports[4:]


def test_a_report_that_was_not_noted_is_told_again_and_not_trained_again(
    tiny: TinyJob, whole: dict[str, Run], folder: str
) -> None:
    spec = tiny.spec(GRADUAL)
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(3))
    task = tiny.task(spec)
    told = run(task, spec, Path(folder), reported=1)
    assert told.reports == whole["gradual"].reports[1:]
    assert len(task.snapshots) == 2, "epochs 4 and 5"


def test_a_trial_that_is_stopped_by_a_report_told_again_trains_nothing(tiny: TinyJob, folder: str) -> None:
    spec = tiny.spec()
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(2))
    task = tiny.task(spec)
    told = run(task, spec, Path(folder), reported=1, answer=lambda report: False)
    assert (told.state, [report["epoch"] for report in told.reports]) == ("stopped", [2])
    assert task.snapshots == []


def test_a_trial_whose_last_report_was_not_noted_tells_it_and_ends(
    tiny: TinyJob, whole: dict[str, Run], folder: str
) -> None:
    spec = tiny.spec(GRADUAL)
    with pytest.raises(Killed):
        tiny.run(spec, folder, answer=die_after(5))
    told = tiny.run(spec, folder, reported=4)
    assert (told.reports, told.state) == (whole["gradual"].reports[4:], "succeeded")
    assert tiny.run(spec, folder, reported=5).reports == []


# restoreBest.


def test_restore_best_begins_a_phase_from_the_best_epoch(still: TinyJob, folder: str) -> None:
    """A rate of 5 spoils the model in the second phase."""
    phases: list[dict[str, Any]] = [
        {"name": "good", "train": ["head"], "until": {"epochs": 2}},
        {"name": "bad", "train": ["head", "blocks[-1:]"], "until": {"epochs": 1}, "lr": {"base": 5.0}},
        {"name": "after", "train": ["head"], "until": {"epochs": 1}, "lr": {"base": 1e-9}, "restoreBest": True},
    ]
    base = {"search.objective": {"metric": "loss"}, "training.schedule": {"name": "constant", "warmup": 0.0}}
    spec = still.spec(base | {"freezing": {"phases": phases}})
    task = still.task(spec)
    told = run(task, spec, Path(folder))
    best = told.reports[2]["best_epoch"]
    assert best < 3
    assert told.metrics[2]["loss"] > told.metrics[best - 1]["loss"] + 0.1
    for name, tensor in task.snapshots[best - 1].items():
        assert torch.allclose(tensor, task.snapshots[3][name], atol=1e-6)
    assert told.metrics[3]["loss"] == pytest.approx(told.metrics[best - 1]["loss"], abs=1e-4)


# A used process.


def test_a_used_process_gives_the_losses_of_a_fresh_one_bit_for_bit(tiny: TinyJob, tmp_path: Path) -> None:
    other = tiny.spec({"training.seed": 7, "training.precision": "bfloat16", "training.optimizer.name": "sgd"})
    tiny.run(other, str(tmp_path / "other"))
    with pytest.raises(Killed):
        tiny.run(other, str(tmp_path / "killed"), answer=die_after(1))
    random.random(), np.random.random(), torch.rand(3)
    used = tiny.run(tiny.spec(GRADUAL), str(tmp_path / "used"))
    command = [sys.executable, "-m", "tests.unit.loop.fresh_process"]
    arguments = [str(tiny.root), str(tmp_path / "fresh"), json.dumps(GRADUAL)]
    fresh = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert json.loads(fresh.stdout.splitlines()[-1]) == used.reports


def test_another_seed_is_another_trial(tiny: TinyJob, whole: dict[str, Run], folder: str) -> None:
    told = tiny.run(tiny.spec({"training.seed": 1}), folder)
    assert told.losses[0] != whole["plain"].losses[0]


def test_a_trial_leaves_the_generators_as_it_found_them(tiny: TinyJob, folder: str) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = float(torch.rand(1)), random.random(), float(np.random.random())
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)

    def spoil(report: Report) -> bool:
        torch.rand(7)
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
        return False

    tiny.run(tiny.spec(), folder, answer=spoil)
    assert (float(torch.rand(1)), random.random(), float(np.random.random())) == expected
