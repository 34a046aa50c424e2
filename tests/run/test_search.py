"""One whole search: what it leaves, and that a slot's trials are those of fresh processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.run.workspace import Workspace, make_workspace
from tests.unit.tiny_models import save_pretrained

EPOCHS = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after a search of six trials in one slot, under ASHA and a gradual schedule."""
    workspace = make_workspace(tmp_path_factory.mktemp("searched"))
    workspace.write(
        training={"epochs": EPOCHS, "batchSize": 16},
        freezing={"preset": "gradual", "depth": 2},
        search={
            "objective": {"metric": "loss"},
            "scheduler": {"name": "asha", "reductionFactor": 2},
            "trials": 6,
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 3e-2}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return workspace


def test_every_trial_is_in_the_result_once_with_its_state(searched: Workspace) -> None:
    result = searched.result()
    assert [trial["name"] for trial in result["trials"]] == [f"trial-{ordinal:04}" for ordinal in range(6)]
    assert {trial["state"] for trial in result["trials"]} == {"succeeded", "stopped"}
    assert result["status"] == "Succeeded"
    assert result["best"]["metrics"]["loss"] == min(trial["metrics"]["loss"] for trial in result["trials"])


def test_a_stopped_trial_has_trained_no_epoch_more_than_was_decided_on(searched: Workspace) -> None:
    decided = [(line["trial"], line["report"]["epoch"]) for line in searched.reports()]
    assert sorted(searched.trained()) == sorted(decided)
    stopped = [trial for trial in searched.result()["trials"] if trial["state"] == "stopped"]
    assert stopped
    assert all(trial["epochs"] < EPOCHS for trial in stopped)


def test_the_exported_model_gives_the_reported_test_accuracy(searched: Workspace) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from thaw_trainer.data.store import PreparedStore

    model = AutoModelForSequenceClassification.from_pretrained(searched.output / "model")
    tokenizer = AutoTokenizer.from_pretrained(searched.output / "model")
    (folder,) = (searched.output / "prepared").iterdir()
    rows = PreparedStore(folder).table("test").to_pydict()
    texts = [line.rsplit(",", 1)[0] for line in (searched.folder / "data.csv").read_text().splitlines()[1:]]
    with torch.inference_mode():
        inputs = tokenizer([texts[row] for row in rows["id"]], return_tensors="pt", padding=True)
        predicted = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.argmax(dim=1)
    assert float(np.mean(predicted.numpy() == np.asarray(rows["label"]))) == searched.result()["test"]["accuracy"]


def test_the_folder_holds_what_people_and_programs_read_and_nothing_else(searched: Workspace) -> None:
    left = {path.name for path in searched.output.iterdir() if not path.name.startswith(".")}
    assert left >= {"result.json", "model", "report.html", "trials.parquet", "logs", "journal.jsonl", "prepared"}
    assert not left & {"checkpoints", "model.unfinished"}
    assert not (searched.output / ".ray").exists()
    assert (searched.output / "model" / "README.md").is_file()
    epochs = pq.read_table(searched.output / "trials.parquet").num_rows
    assert epochs == len(searched.reports())


def test_running_again_gives_the_same_result_and_trains_nothing(searched: Workspace) -> None:
    before, trained = searched.result(), searched.trained()
    outcome = searched.thaw("run", "-o", "json")
    assert outcome.returncode == 0, outcome.stderr
    assert searched.result() == before
    assert searched.trained() == trained


def test_another_manifest_into_the_same_folder_is_refused(searched: Workspace) -> None:
    before = searched.result()
    outcome = searched.thaw("run", "--set", "training.epochs=3")
    assert outcome.returncode == 2
    assert "spec.output.uri" in outcome.stderr
    assert searched.result() == before


def test_a_trial_in_a_used_slot_has_the_loss_curve_of_a_fresh_process(searched: Workspace, tmp_path: Path) -> None:
    last = searched.result()["trials"][-1]
    fresh = searched.thaw(
        "run",
        "--output",
        str(tmp_path / "fresh"),
        "--set",
        f"training.optimizer.lr={last['parameters']['training.optimizer.lr']!r}",
        "--set",
        "search.parameters=[]",
        "--set",
        "search.trials=1",
        "--set",
        "search.scheduler.name=none",
    )
    assert fresh.returncode == 0, fresh.stderr
    in_used_slot = [line["report"] for line in searched.reports() if line["trial"] == 5]
    in_fresh_process = [line["report"] for line in searched.reports(tmp_path / "fresh")][: len(in_used_slot)]
    assert in_used_slot
    for used, alone in zip(in_used_slot, in_fresh_process, strict=True):
        assert used["train_losses"] == alone["train_losses"]
        assert used["metrics"] == alone["metrics"]


def test_the_model_itself_is_searched_and_the_better_one_exported(workspace: Workspace) -> None:
    save_pretrained(workspace.folder / "other", "distilbert")
    models = ["file:model", "file:other"]
    workspace.write(
        freezing={"preset": "last-n", "depth": 1},
        search={
            "objective": {"metric": "loss"},
            "algorithm": {"name": "grid"},
            "parallel": 1,
            "parameters": [{"path": "model.uri", "choice": {"values": models}}],
        },
    )
    outcome = workspace.thaw("run")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    result = workspace.result()
    assert [trial["parameters"]["model.uri"] for trial in result["trials"]] == models
    assert {trial["state"] for trial in result["trials"]} == {"succeeded"}
    best = min(result["trials"], key=lambda trial: trial["metrics"]["loss"])
    assert result["best"]["parameters"] == best["parameters"]
    exported = json.loads((workspace.output / "model" / "config.json").read_text(encoding="utf-8"))
    families = dict(zip(models, ["bert", "distilbert"], strict=True))
    assert exported["model_type"] == families[best["parameters"]["model.uri"]]
