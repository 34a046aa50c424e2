"""A job of each task, whole: searched, tested once, exported, with two workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run.task_jobs import KINDS, LAST
from tests.run.workspace import Workspace
from tests.unit.tiny_objects import save_detector, write_rectangles


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_job_of_each_task_with_two_workers_is_what_one_worker_makes(
    make: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    own = make(tmp_path)
    data = {"train": {"uri": "file:data"}} | own.pop("data", {})
    data["split"] = {"validation": 0.2, "test": 0.2} | data.get("split", {})
    workspace.write(
        model={"uri": "file:model"} | own.pop("model", {}),
        data=data,
        training={"epochs": 2, "batchSize": 8, "optimizer": {"name": "sgd", "lr": 0.01}} | own.pop("training", {}),
        search={},
        **own,
    )
    results = {}
    for workers in (1, 2):
        output = tmp_path / f"out-{workers}"
        done = workspace.thaw("run", "--output", str(output), "--set", f"cluster.workersPerTrial={workers}")
        assert done.returncode == 0, done.stdout + done.stderr
        results[workers] = workspace.result(output)
        assert (output / "model" / "model.safetensors").is_file()
        assert "## How to use" in (output / "model" / "README.md").read_text(encoding="utf-8")
        assert "<svg" in (output / "report.html").read_text(encoding="utf-8")
    curves = [
        [loss for line in workspace.reports(tmp_path / f"out-{workers}") for loss in line["report"]["train_losses"]]
        for workers in (1, 2)
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3, abs=1e-4)
    assert json.dumps(results[1]["data"]) == json.dumps(results[2]["data"])
    assert results[1]["test"].keys() == results[2]["test"].keys()


def test_a_search_over_how_much_of_a_detector_is_frozen_computes_what_is_frozen_once(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_rectangles(tmp_path / "data", 60)
    save_detector(tmp_path / "model")
    workspace.write(
        task="object-detection",
        data={"train": {"uri": "file:data"}, "split": {"validation": 0.2, "test": 0.2}},
        training={"epochs": 2, "batchSize": 8},
        freezing=LAST | {"cache": {"mode": "always"}},
        search={
            "algorithm": {"name": "grid"},
            "parameters": [
                {"path": "freezing.depth", "choice": {"values": [1, 2]}},
                {"path": "training.optimizer.lr", "choice": {"values": [0.001, 0.01]}},
            ],
        },
    )
    done = workspace.thaw("run")
    assert done.returncode == 0, done.stdout + done.stderr
    result = workspace.result()
    assert [trial["state"] for trial in result["trials"]] == ["succeeded"] * 4, result["trials"]
    assert {trial["parameters"]["freezing.depth"] for trial in result["trials"]} == {1, 2}
    rows = result["data"]["rows"]
    assert result["prefixCache"]["hits"] == 4 * 2 * (rows["train"] + rows["validation"])
    assert result["prefixCache"]["misses"] == 0
    assert result["test"].keys() == {"map", "map50", "map75", "loss"}
