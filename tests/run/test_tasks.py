"""A job of each task, whole: searched, tested once, exported, with two workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.run.workspace import Workspace
from tests.unit.tasks.test_face_recognition import write_faces
from tests.unit.tasks.test_token_classification import tagged_sentences, write_conll
from tests.unit.tiny_images import save_vit, write_pictures
from tests.unit.tiny_jobs import write_csv
from tests.unit.tiny_models import save_pretrained
from tests.unit.tiny_objects import save_detector, write_rectangles
from tests.unit.tiny_pairs import NO_DROPOUT, pairs, save_writer
from tests.unit.tiny_sounds import save_wav2vec2, write_sounds
from tests.unit.tiny_texts import TinyPairs, TinyRegression, TinyTexts, pair_rows, write_jsonl
from tests.unit.tiny_whisper import SPOKEN, save_whisper

WITHOUT_DROPOUT = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout")
"""Each worker draws its own: with dropout, two workers have other losses than one."""
LAST = {"preset": "last-n", "depth": 1}


def images(folder: Path) -> dict[str, Any]:
    write_pictures(folder / "data", 90)
    save_vit(folder / "model")
    augment = [{"randomCrop": {"padding": 2}}]
    return {"task": "image-classification", "data": {"split": {"stratifyBy": "label"}, "augment": augment}}


def objects(folder: Path) -> dict[str, Any]:
    write_rectangles(folder / "data", 60)
    save_detector(folder / "model")
    return {"task": "object-detection", "freezing": LAST}


def detr(folder: Path) -> dict[str, Any]:
    write_rectangles(folder / "data", 60)
    save_detector(folder / "model", "detr")
    return {"task": "object-detection", "data": {"augment": [{"horizontalFlip": {}}]}}


def faces(folder: Path) -> dict[str, Any]:
    write_faces(folder / "data", 20)
    save_vit(folder / "model")
    return {"task": "face-recognition", "model": {"head": {"embedding": 16}}, "freezing": LAST}


def speech(folder: Path) -> dict[str, Any]:
    write_sounds(folder / "data")
    save_wav2vec2(folder / "model", **dict.fromkeys(WITHOUT_DROPOUT, 0.0))
    return {"task": "speech-recognition", "freezing": LAST}


def whispers(folder: Path) -> dict[str, Any]:
    write_sounds(folder / "data", count=90)
    save_whisper(folder / "model")
    data = {"features": [SPOKEN]}
    return {"task": "speech-recognition", "freezing": LAST, "data": data, "evaluation": {"generation": {"beams": 2}}}


def tags(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    write_conll(folder / "data" / "rows.conll", tagged_sentences(90))
    save_pretrained(folder / "model", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    data = {"train": {"uri": "file:data/rows.conll"}}
    return {"task": "token-classification", "data": data, "freezing": {"preset": "gradual", "depth": 1}}


def translations(folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    write_csv(folder / "data" / "rows.csv", pairs(90), header=("source", "target"))
    save_writer(folder / "model", **NO_DROPOUT)
    data = {"train": {"uri": "file:data/rows.csv"}}
    return {"task": "translation", "data": data, "freezing": LAST, "evaluation": {"generation": {"beams": 2}}}


def agents(folder: Path) -> dict[str, Any]:
    (folder / "model").mkdir()
    shape = {"model_type": "policy", "policy": [16, 16], "value": [16, 16]}
    (folder / "model" / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    ppo = {"environments": 4, "rolloutSteps": 16, "rollouts": 2, "passes": 2}
    return {
        "task": "reinforcement-learning",
        "model": {"init": "random"},
        "data": {"train": {"uri": "gymnasium://CartPole-v1"}},
        "training": {"ppo": ppo},
        "freezing": LAST,
    }


def texts(folder: Path, kind: type[TinyTexts]) -> dict[str, Any]:
    kind(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    own = {path.removeprefix("data."): value for path, value in kind.own.items()}
    return {"task": "text-classification", "data": {"train": {"uri": "file:rows.jsonl"}} | own, "freezing": LAST}


def labels_of_pairs(folder: Path) -> dict[str, Any]:
    """Several labels to a pair of texts."""
    own = texts(folder, TinyPairs)
    rows = [row | {"label": [row["label"], *row["text"].split()[:1]]} for row in pair_rows()]
    write_jsonl(folder / "rows.jsonl", rows)
    own["data"]["labels"] = {"kind": "multi-label"}
    return own


def numbers(folder: Path) -> dict[str, Any]:
    return texts(folder, TinyRegression)


KINDS = (images, objects, detr, faces, speech, whispers, tags, translations, agents, labels_of_pairs, numbers)


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
