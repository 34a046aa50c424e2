"""A job on a table with problems: what is left out, cleaned and measured stands in the result; what it does not reach
makes it fail with its model written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.run.workspace import Workspace
from tests.unit.tiny_jobs import labelled_texts
from tests.unit.tiny_models import save_pretrained


def _write_problems(file: Path) -> None:
    """240 good rows; 30 in HTML, 20 that repeat another, 10 of a label to be renamed, 2 without a label, and a column
    `code` that tells the label."""
    good = labelled_texts(270)
    rows = [(text, label) for text, label in good[:240]]
    rows += [(f"<p>{text}</p>", label) for text, label in good[240:]]
    rows += good[:20]
    rows[:10] = [(text, label.upper()) for text, label in rows[:10]]
    rows += [("no label", ""), ("no label either", "")]
    leaking = [(text, label, label[:1].lower(), str(number)) for number, (text, label) in enumerate(rows)]
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("text", "label", "code", "number"), *leaking])


def test_a_job_that_is_cleaned_and_sliced_fails_by_what_it_does_not_reach(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save_pretrained(tmp_path / "model")
    _write_problems(tmp_path / "data.csv")
    workspace.write(
        data={
            "train": {"uri": "file:data.csv"},
            "split": {"validation": 0.2, "test": 0.2, "stratifyBy": "label"},
            "clean": [
                {"stripHtml": {}},
                {"mapValues": {"column": "label", "values": {"RED": "red", "GREEN": "green", "BLUE": "blue"}}},
                {"dropDuplicates": {}},
            ],
        },
        evaluation={
            "metrics": ["accuracy", "loss"],
            "require": {"accuracy": ">= 1.1", "loss": ">= 0"},
            "slices": [{"name": "red rows", "where": "label = 'red'"}, {"name": "short", "where": "length(text) < 60"}],
        },
    )
    ran = workspace.thaw("run")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "BelowThreshold" in ran.stderr
    result = json.loads((workspace.output / "result.json").read_text(encoding="utf-8"))
    assert (result["status"], result["failure"]["reason"]) == ("Failed", "BelowThreshold")
    assert result["failure"]["message"].startswith("spec.evaluation.require: accuracy is ")
    assert "loss" not in result["failure"]["message"]
    assert (workspace.output / "model" / "model.safetensors").is_file()

    assert result["data"]["rows"]["read"] == 292
    assert [(each["step"], each["dropped"], each["changed"], each["rows"]) for each in result["data"]["cleaning"]] == [
        ("stripHtml", 0, 30, 292),
        ("mapValues", 0, 10, 292),
        ("dropDuplicates", 20, 0, 272),
    ]
    assert result["data"]["badRows"]["count"] == 2
    assert [each["row"] for each in result["data"]["badRows"]["listed"]] == [290, 291]

    assert [each["column"] for each in result["data"]["suspects"]] == ["code"]
    assert "2 rows cannot be used and were left out: see data.badRows" in result["warnings"]
    assert any("column 'code' alone tells the label of 100% of the rows" in each for each in result["warnings"])

    told = np.load(workspace.output / "test-predictions.npz")
    right = told["logits"].argmax(axis=1) == told["label"]
    red = told["label"] == 2  # blue, green, red
    assert result["slices"][0] == {
        "name": "red rows",
        "rows": int(red.sum()),
        "metrics": {
            "accuracy": pytest.approx(right[red].mean()),
            "loss": pytest.approx(result["slices"][0]["metrics"]["loss"]),
        },
    }
    low, high = result["testIntervals"]["accuracy"]
    assert low <= result["test"]["accuracy"] <= high
    page = (workspace.output / "report.html").read_text(encoding="utf-8")
    for shown in (
        "Failed: BelowThreshold",
        "red rows",
        "stripHtml",
        "column &#39;label&#39; lacks a value",
        "95% interval",
    ):
        assert shown in page

    again = workspace.thaw("run")
    assert (again.returncode, again.stderr.splitlines()[-1:]) == (1, ran.stderr.splitlines()[-1:])
