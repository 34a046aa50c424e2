"""Bad input ends with exit status 2, one clear message with the field's path, and nothing trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.workspace import Workspace
from tests.unit.tiny_jobs import write_csv


def _corrupt(folder: Path) -> None:
    (folder / "model" / "model.safetensors").write_bytes(b"not tensors at all")


def _one_rare_row(folder: Path) -> None:
    text = (folder / "data.csv").read_text(encoding="utf-8")
    (folder / "data.csv").write_text(text + "a single row,mauve\n", encoding="utf-8")


def _one_class(folder: Path) -> None:
    write_csv(folder / "data.csv", [(f"text {row}", "only") for row in range(30)])


def _corrupt_tokenizer(folder: Path) -> None:
    (folder / "model" / "tokenizer.json").write_text("{", encoding="utf-8")


BEFORE_RAY: dict[str, tuple[list[str], str, str]] = {
    "unknown field": (["training.epoch=3"], "spec.training.epoch", "did you mean epochs"),
    "wrong type": (["training.epochs=many"], "spec.training.epochs", "many"),
    "out of range": (["training.optimizer.lr=-1"], "spec.training.optimizer.lr", "greater than"),
    "missing file": (["data.train.uri=file:none.csv"], "spec.data.train.uri", "none.csv"),
    "missing model": (["model.uri=pkg://no_such_package/model"], "spec.model.uri", "no_such_package"),
    "unknown metric": (["search.objective.metric=bleu"], "spec.search.objective.metric", "accuracy"),
    "not available yet": (["search.algorithm.name=gp"], "spec.search.algorithm.name", "not available yet"),
    "search path that matches nothing": (
        ["search.parameters=[{path: 'freezing.phases[0].train[0]', choice: {values: [head]}}]"],
        "spec.search.parameters[0]",
        "matches nothing",
    ),
    "phase of no steps": (
        ["freezing={phases: [{name: a, train: [head], until: {steps: 0}}]}"],
        "spec.freezing.phases[0].until.steps",
        "greater than or equal to 1",
    ),
    "phase that begins after its end": (
        [
            "training.epochs=4",
            "freezing={phases: [{name: a, train: [head], until: {epochs: 2}}, "
            "{name: b, train: [all], until: {fraction: 0.5}}]}",
        ],
        "spec.freezing.phases[1].until.fraction",
        "is over before the phase begins",
    ),
    "output on a cluster": (["output.uri=pvc://claim/out"], "spec.output.uri", "--output"),
}
WHILE_PREPARING: dict[str, tuple[Callable[[Path], None] | None, list[str], str, str]] = {
    "missing column": (None, ["data.columns={text: words}"], "spec.data.columns.text", "text, label"),
    "empty split": (None, ["data.split={validation: 0.0001, test: 0.2}"], "spec.data.split", "empty"),
    "class with one row": (_one_rare_row, [], "spec.data.split.stratifyBy", "mauve"),
    "one class": (
        _one_class,
        [],
        "spec.data.columns.label",
        "2 labels",
    ),
    "overlapping rates": (
        None,
        [
            "freezing={phases: [{name: a, train: [all], until: {epochs: 1}, lr: {groups: "
            "[{select: [head], base: 0.1}, {select: [biases], base: 0.2}]}}]}"
        ],
        "spec.freezing.phases[0].lr.groups[1].select",
        "overlapping rates",
    ),
    "selector that matches nothing": (
        None,
        ["freezing={phases: [{name: a, train: ['blocks[7]'], until: {epochs: 1}}]}"],
        "spec.freezing.phases[0].train[0]",
        "3 blocks",
    ),
    "no such tokenizer": (
        _corrupt_tokenizer,
        [],
        "spec.model.uri",
        "tokenizer",
    ),
    "corrupt weights": (_corrupt, [], "spec.model.uri", "model.safetensors"),
}


@pytest.mark.parametrize("case", BEFORE_RAY)
def test_what_needs_no_data_is_refused_at_once(workspace: Workspace, case: str) -> None:
    overrides, field, hint = BEFORE_RAY[case]
    outcome = workspace.thaw("run", *(part for each in overrides for part in ("--set", each)))
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert field in outcome.stderr
    assert hint in outcome.stderr
    assert not (workspace.output / "journal.jsonl").exists()


@pytest.mark.parametrize("case", WHILE_PREPARING)
def test_what_only_data_and_model_can_tell_is_refused_before_training(workspace: Workspace, case: str) -> None:
    spoil, overrides, field, hint = WHILE_PREPARING[case]
    if spoil:
        spoil(workspace.folder)
    outcome = workspace.thaw("plan", *(part for each in overrides for part in ("--set", each)))
    assert outcome.returncode == 2, outcome.stdout + outcome.stderr
    assert f"{field}: " in outcome.stderr
    assert hint in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_run_refuses_like_plan_and_leaves_nothing_that_looks_whole(workspace: Workspace) -> None:
    outcome = workspace.thaw("run", "--set", "data.columns={text: words}")
    assert outcome.returncode == 2
    assert "spec.data.columns.text: " in outcome.stderr
    assert not any((workspace.output / name).exists() for name in ("journal.jsonl", "result.json", "model"))


def test_more_workers_than_cores_is_refused_with_what_would_be_right(workspace: Workspace) -> None:
    outcome = workspace.thaw("run", "--set", "cluster.workersPerTrial=512", "--set", "training.batchSize=512")
    assert outcome.returncode == 2
    assert "spec.cluster.workersPerTrial" in outcome.stderr
    assert "--set cluster.workersPerTrial=1" in outcome.stderr


def test_a_manifest_that_is_no_yaml_is_refused_with_its_line(workspace: Workspace) -> None:
    (workspace.folder / "job.yaml").write_text("spec: [1,\n  2", encoding="utf-8")
    outcome = workspace.thaw("run")
    assert outcome.returncode == 2
    assert "line 2" in outcome.stderr


def test_a_model_without_weights_is_refused(workspace: Workspace) -> None:
    shutil.move(workspace.folder / "model" / "model.safetensors", workspace.folder / "elsewhere")
    outcome = workspace.thaw("plan")
    assert outcome.returncode == 2
    assert "spec.model.uri: " in outcome.stderr
