"""Two workers that train one trial together do what one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.workspace import Workspace


@pytest.mark.parametrize(
    ("optimizer", "sharding", "tolerance"), [("sgd", "none", 1e-4), ("adamw", "none", 1e-2), ("sgd", "full", 1e-4)]
)
def test_two_workers_have_the_loss_curve_of_one(
    workspace: Workspace, tmp_path: Path, optimizer: str, sharding: str, tolerance: float
) -> None:
    workspace.write(
        training={"epochs": 3, "batchSize": 16, "optimizer": {"name": optimizer, "lr": 0.01}},
        freezing={"preset": "gradual", "depth": 2},
    )
    one = workspace.thaw("run", "--output", str(tmp_path / "one"))
    gang = ("--set", "cluster.workersPerTrial=2", "--set", f"training.sharding={sharding}")
    two = workspace.thaw("run", "--output", str(tmp_path / "two"), *gang)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "2 workers" in two.stdout
    curves = [
        [loss for line in workspace.reports(tmp_path / run) for loss in line["report"]["train_losses"]]
        for run in ("one", "two")
    ]
    phases = [line["report"]["phase"] for line in workspace.reports(tmp_path / "two")]
    assert phases == ["head", "top-1", "top-2"]
    assert curves[1] == pytest.approx(curves[0], abs=tolerance)
