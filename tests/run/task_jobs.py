"""Tiny jobs of each task: a folder is given data and a model, and the parts of a spec that are the task's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
