"""A first phase that all trials have in common, through a whole search."""

from __future__ import annotations

from pathlib import Path

from tests.run.workspace import make_workspace


def test_one_trial_trains_it_and_the_others_go_on_from_there(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    workspace.write(
        training={"epochs": 2, "batchSize": 16},
        freezing={
            "phases": [
                {"name": "head", "train": ["head"], "until": {"epochs": 1}, "lr": {"base": 0.01}},
                {"name": "top", "train": ["head", "blocks[-1:]"], "until": {"fraction": 1.0}},
            ]
        },
        search={
            "trials": 3,
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-2}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    told = [(line["trial"], line["report"]) for line in workspace.reports()]
    shared = [(trial, report["epoch"]) for trial, report in told if report["shared"]]
    assert shared == [(1, 1), (2, 1)]
    assert len({str(report["train_losses"]) for _, report in told if report["epoch"] == 1}) == 1
    assert len({str(report["train_losses"]) for _, report in told if report["epoch"] == 2}) == 3
    assert not list(workspace.output.glob("checkpoints/first-phase-*"))
