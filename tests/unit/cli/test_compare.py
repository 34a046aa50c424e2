"""Runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from thaw_cli.compare import comparison, differences, notes
from thaw_cli.main import app

RUNNER = CliRunner()


def result(accuracy: float, **fields: Any) -> dict[str, Any]:
    return {
        "status": "Succeeded",
        "job": "sections",
        "task": "text-classification",
        "objective": {"metric": "accuracy", "mode": "max"},
        "best": {"parameters": {"training.optimizer.lr": 0.001}, "metrics": {"accuracy": 0.75}, "bestEpoch": 3},
        "test": {"accuracy": accuracy},
        "testIntervals": {"accuracy": [accuracy - 0.05, accuracy + 0.05]},
        "trials": [{}, {}],
        "data": {"rows": {"test": 100}, "fingerprint": "abc"},
        "seconds": {"total": 61.25},
        **fields,
    }


def test_what_any_run_has_is_a_row_and_a_dash_where_another_has_none() -> None:
    failed = result(0.0, status="Failed", best=None, test={}, testIntervals={})
    rows = {row["what"]: list(row["runs"].values()) for row in comparison({"a": result(0.8), "b": failed})}
    assert rows["test accuracy"] == [0.8, None]
    assert rows["training.optimizer.lr"] == [0.001, None]
    assert rows["trials"] == [2, 2]


def test_runs_of_other_rows_or_another_objective_say_so() -> None:
    others = result(0.7, data={"rows": {}, "fingerprint": "xyz"}, objective={"metric": "loss", "mode": "min"})
    assert notes({"a": result(0.8), "b": result(0.7)}) == []
    assert len(notes({"a": result(0.8), "b": others})) == 2


def test_the_table_is_printed_and_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for name, accuracy in (("one", 0.8), ("two", 0.7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result(accuracy)), encoding="utf-8")
    shown = RUNNER.invoke(app, ["compare", str(tmp_path / "one"), str(tmp_path / "two")])
    assert shown.exit_code == 0
    assert "test accuracy" in shown.stdout
    assert "0.65 to 0.75" in shown.stdout
    printed = RUNNER.invoke(app, ["compare", str(tmp_path / "one"), "-o", "json"])
    assert json.loads(printed.stdout)[0] == {"what": "job", "runs": {str(tmp_path / "one"): "sections"}}
    refused = RUNNER.invoke(app, ["compare", str(tmp_path / "three")])
    assert (refused.exit_code, "no run has ended there" in refused.stderr) == (2, True)


def test_classifiers_of_the_same_rows_are_compared_row_by_row(tmp_path: Path) -> None:
    label = np.arange(200) % 2
    for name, wrong in (("one", 40), ("two", 20), ("three", 20)):
        (tmp_path / name).mkdir()
        said = np.where(np.arange(200) < wrong, 1 - label, label)
        ids = np.arange(200) + (1000 if name == "three" else 0)
        np.savez(tmp_path / name / "test-predictions.npz", id=ids, label=label, logits=np.eye(2)[said])
    what, interval = differences([tmp_path / "one", tmp_path / "two"])
    assert what["what"] == "test accuracy less the first's"
    assert list(what["runs"].values()) == [None, pytest.approx(0.1)]
    low, high = interval["runs"][str(tmp_path / "two")]
    assert 0.05 < low < 0.1 < high < 0.15
    assert differences([tmp_path / "one", tmp_path / "three"]) == []
    assert differences([tmp_path / "one"]) == []
