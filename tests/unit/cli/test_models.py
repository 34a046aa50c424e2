"""`thaw models`: what it prints, and which option is wrong."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from thaw_cli.main import app

RUNNER = CliRunner()
ASKED = ["models", "text-classification", "--rows", "1000", "--teraflops", "1", "--memory", "16Gi"]


def test_a_table_marks_what_is_proposed_and_says_what_to_write() -> None:
    outcome = RUNNER.invoke(app, ASKED)
    assert outcome.exit_code == 0
    assert "task    text-classification: rows 1000, length 128, epochs 3, batches of 32" in outcome.stdout
    assert outcome.stdout.count("* ") - outcome.stdout.count(". * is") == 1
    assert "start with hf://" in outcome.stdout


@pytest.mark.parametrize(("fmt", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_programs_get_every_number(fmt: str, read: type[object]) -> None:
    told = read(RUNNER.invoke(app, [*ASKED, "-o", fmt]).stdout)  # type: ignore[call-arg]
    (best,) = [each for each in told["models"] if each["proposed"]]  # type: ignore[index]
    assert {way["way"] for way in best["ways"]} == {"all", "lora", "top-2", "head"}
    assert told["device"]["memoryBytes"] == 16 * 2**30  # type: ignore[index]
    assert RUNNER.invoke(app, [*ASKED, "-o", "name"]).stdout == best["uri"] + "\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["text-clasification", "--rows", "9"],
            "TASK: there is no task 'text-clasification'; near: text-classification",
        ),
        (["reinforcement-learning", "--rows", "9"], "TASK: no models are listed for reinforcement-learning"),
        ([], "TASK: name a task, or a manifest with -f"),
        (["causal-lm"], "--rows: required, and missing"),
        (["causal-lm", "--rows", "0"], "--rows: must be above 0; found 0"),
        (["causal-lm", "--rows", "9", "--epochs", "-1"], "--epochs: must be above 0; found -1.0"),
        (["causal-lm", "--rows", "9", "--memory", "lots"], "--memory: must be bytes, such as 16Gi; found 'lots'"),
        (["causal-lm", "--rows", "9", "--time", "soon"], "--time: must be a duration, such as 2h or 90m; found 'soon'"),
        (["causal-lm", "--rows", "9", "--device", "tpu"], "--device: must be cpu, gpu or one of t4"),
        (
            ["causal-lm", "--rows", "9", "--target-length", "5"],
            "--target-length: models of task causal-lm write no text",
        ),
        (["face-recognition", "--rows", "9", "--length", "5"], "--length: rows of face-recognition have none"),
    ],
)
def test_what_is_wrong_is_told_by_the_options_name(arguments: list[str], told: str) -> None:
    outcome = RUNNER.invoke(app, ["models", *arguments])
    assert outcome.exit_code == 2
    assert f"thaw models: {told}" in outcome.stderr
