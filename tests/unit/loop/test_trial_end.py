"""How a trial ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.tiny_jobs import (
    Report,
    TinyJob,
    WatchedTask,
    run,
)
from thaw_trainer.errors import LOSS_NOT_FINITE, SELECTOR_MATCHES_NOTHING, TrainerError

REPOSITORY = Path(__file__).parents[3]
SGD = {"training.optimizer": {"name": "sgd", "lr": 0.1}}


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


def test_gradual_that_does_not_fit_the_epochs_is_a_warning_in_every_report(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec({"freezing": {"preset": "gradual"}, "training.epochs": 2}), folder)
    assert all("gradual has 5 phases" in report["warnings"][0] for report in told.reports)


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
