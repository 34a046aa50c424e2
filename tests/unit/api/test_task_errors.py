"""What a spec asks of its task that the task does not have, each error at its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests import errors_of, job, parameter
from thaw_api import FieldError, FineTuneJobSpec
from thaw_api.reference import reference_text
from thaw_api.search_space import objective
from thaw_api.tasks import TASKS

IMAGES = {"task": "image-classification"}
TEXT = "task text-classification"
AGENT = {"task": "reinforcement-learning", "data.train": {"uri": "gymnasium://CartPole-v1"}}
SEVERAL = {"data.labels": {"kind": "multi-label"}}
NUMBER = {"data.labels": {"kind": "regression"}}

ASKED: list[tuple[dict[str, Any], str, str]] = [
    (
        {"data.train.format": "imagefolder"},
        "data.train.format",
        f"{TEXT} reads csv, tsv, jsonl, parquet, dataset; found imagefolder",
    ),
    ({"data.batching.strategy": "pack"}, "data.batching.strategy", f"{TEXT} has bucket, pad; found pack"),
    (
        IMAGES | {"data.batching.tokensPerBatch": 512},
        "data.batching.tokensPerBatch",
        "rows of task image-classification are not of tokens",
    ),
    (
        {"task": "causal-lm", "data.columns": {"text": "a", "prompt": "b"}},
        "data.columns",
        "text, prompt are not of one kind of example: name text, or messages, or prompt and completion",
    ),
    ({"model.uri": "timm://resnet18"}, "model.uri", f"timm: has no models for {TEXT}"),
    (
        {"data.augment": [{"horizontalFlip": {}}]},
        "data.augment[0].horizontalFlip",
        f"{TEXT} has no such step; it has hideTokens",
    ),
    (
        {"task": "token-classification", "data.augment": [{"horizontalFlip": {}}]},
        "data.augment[0].horizontalFlip",
        "task token-classification has no such step; it has none yet",
    ),
    (
        IMAGES | {"data.features": [{"resize": {"size": 32}}, {"lower": {}}]},
        "data.features[1].lower",
        "task image-classification has no such step; it has resize",
    ),
    (IMAGES | {"data.augment": [{"rotation": {}}]}, "data.augment[0].rotation.degrees", "required, and missing"),
    (
        IMAGES | {"data.augment": [{"rotation": {"degrees": 200}}]},
        "data.augment[0].rotation.degrees",
        "must be less than or equal to 180; found 200",
    ),
    (
        IMAGES | {"data.augment": [{"rotation": {"degres": 20}}]},
        "data.augment[0].rotation.degres",
        "unknown field; did you mean degrees?",
    ),
    (
        IMAGES | {"data.augment": [{"rotation": 20}]},
        "data.augment[0].rotation",
        "a step's options are a mapping, {} for none; found 20",
    ),
    (
        IMAGES | {"data.augment": [{"colorJitter": {}}]},
        "data.augment[0].colorJitter",
        "changes nothing: give brightness, contrast, saturation or hue",
    ),
    (
        {"task": "speech-recognition", "training.labelSmoothing": 0.1},
        "training.labelSmoothing",
        "the loss of task speech-recognition has no labels to smooth",
    ),
    (
        {"task": "token-classification", "training.regularization": {"rDrop": 1}},
        "training.regularization.rDrop",
        "task token-classification is no classifier of one label",
    ),
    (
        NUMBER | {"training.regularization": {"rDrop": 1}},
        "training.regularization.rDrop",
        "is no classifier of one label",
    ),
    (
        {"model.adapter": {"method": "lora"}, "training.regularization": {"l2Sp": 1}},
        "training.regularization.l2Sp",
        "with model.adapter no pretrained tensor is trained",
    ),
    (
        {"model.init": "random", "training.regularization": {"l2Sp": 1}},
        "training.regularization.l2Sp",
        "with model.init: random there are no pretrained weights",
    ),
    (
        {"task": "object-detection", "data.augment": [{"horizontalFlip": {}}, {"rotation": {"degrees": 5}}]},
        "data.augment[1].rotation",
        "task object-detection has no such step; it has horizontalFlip, verticalFlip, randomCrop",
    ),
    (
        {"task": "object-detection", "data.columns": {"label": "a"}},
        "data.columns.label",
        "task object-detection has no such role; it has none",
    ),
    (
        {"task": "object-detection", "training.labelSmoothing": 0.1},
        "training.labelSmoothing",
        "the loss of task object-detection has no labels to smooth",
    ),
    ({"model.head": {"embedding": 64}}, "model.head.embedding", f"{TEXT} has no embedding; face-recognition has"),
    ({"data.batching.maxTargetLength": 16}, "data.batching.maxTargetLength", f"models of {TEXT} write no text"),
    ({"evaluation.generation": {"beams": 2}}, "evaluation.generation", f"models of {TEXT} write no text"),
    (
        {"task": "translation", "data.features": [{"languages": {"source": "en"}}]},
        "data.features[0].languages.target",
        "required, and missing",
    ),
    (
        {"task": "summarization", "data.features": [{"languages": {"source": "en", "target": "fr"}}]},
        "data.features[0].languages",
        "task summarization has no such step; it has template, derive, instruction",
    ),
    ({"training.ppo": {}}, "training.ppo", f"{TEXT} has no agent; reinforcement-learning has"),
    ({"evaluation.episodes": 3}, "evaluation.episodes", f"{TEXT} has no agent; reinforcement-learning has"),
    ({"model.head": {"reset": "all"}}, "model.head.reset", f"{TEXT} has no agent; reinforcement-learning has"),
    ({"data.train": {"uri": "gymnasium://CartPole-v1"}}, "data.train.uri", f"{TEXT} learns from rows"),
    (
        {"task": "reinforcement-learning"},
        "data.train.uri",
        "task reinforcement-learning learns in an environment, such as gymnasium://CartPole-v1",
    ),
    (
        AGENT | {"training.ppo": {"environments": 6}, "cluster.workersPerTrial": 4},
        "training.ppo.environments",
        "6 are not divided evenly by 4 (workersPerTrial times gradientAccumulation)",
    ),
    (AGENT | {"training.precision": "bfloat16"}, "training.precision", "an agent acts and learns in float32"),
    (AGENT | {"training.sharding": "full"}, "training.sharding", "an agent's workers act by themselves"),
    (AGENT | {"model.head": {"dropout": 0.1}}, "model.head.dropout", "a policy has no dropout"),
    (
        AGENT | {"model.init": "random", "training.ppo": {"pretrainedWeight": 0.1}},
        "training.ppo.pretrainedWeight",
        "with model.init: random there is no pretrained policy to stay near",
    ),
    (
        AGENT | {"training.batchSize": 12},
        "training.batchSize",
        "takes as many transitions of each of 8 environments; found 12",
    ),
    (
        AGENT | {"training.batchSize": 64, "training.ppo": {"rolloutSteps": 100}},
        "training.ppo.rolloutSteps",
        "100 are not divided evenly by 8, which batchSize takes of each environment",
    ),
    (
        SEVERAL | {"search.objective": {"metric": "accuracy"}},
        "search.objective.metric",
        f"{TEXT} (multi-label) has no metric 'accuracy'; it has microF1, macroF1, subsetAccuracy, map, loss",
    ),
    (
        NUMBER | {"evaluation.metrics": ["rmse", "f1"]},
        "evaluation.metrics[1]",
        f"{TEXT} (regression) has no metric 'f1'; it has rmse, pearson, spearman, loss",
    ),
    (
        {"evaluation.metrics": ["pearson"]},
        "evaluation.metrics[0]",
        f"{TEXT} has no metric 'pearson'; it has accuracy, f1, mcc, loss",
    ),
    (
        NUMBER | {"training.labelSmoothing": 0.1},
        "training.labelSmoothing",
        f"the loss of {TEXT} (regression) has no labels to smooth",
    ),
    (
        IMAGES | SEVERAL,
        "data.labels.kind",
        "task image-classification has no multi-label labels; text-classification has",
    ),
    (
        SEVERAL | {"data.split": {"stratifyBy": "label"}},
        "data.split.stratifyBy",
        "multi-label labels are no strata: name another column, or none",
    ),
    (
        NUMBER | {"data.columns": {"label": "stars"}, "data.split": {"stratifyBy": "stars"}},
        "data.split.stratifyBy",
        "regression labels are no strata: name another column, or none",
    ),
    (
        {"data.labels": {"separator": ";"}},
        "data.labels",
        "separator is for kind multi-label, whose cells hold several labels",
    ),
    (
        {"task": "token-classification", "data.columns": {"textPair": "a"}},
        "data.columns.textPair",
        "task token-classification has no such role; it has tokens, tags",
    ),
    (
        IMAGES | {"data.columns": {"text": "a"}},
        "data.columns.text",
        "task image-classification has no such role; it has image, label",
    ),
]


@pytest.mark.parametrize(("changes", "path", "message"), ASKED, ids=[row[1] for row in ASKED])
def test_each_error_names_its_field(changes: dict[str, Any], path: str, message: str) -> None:
    errors = errors_of(changes)
    assert FieldError(f"spec.{path}", message) in errors or [
        each for each in errors if each.path == f"spec.{path}" and message in each.message
    ], errors


RIGHT = [
    {"data.columns": {"text": "a", "textPair": "b"}},
    SEVERAL | {"training.labelSmoothing": 0.1, "search.objective": {"metric": "map"}},
    {"data.labels": {"kind": "multi-label", "separator": "|"}, "data.split": {"stratifyBy": "author"}},
    NUMBER | {"evaluation.metrics": ["rmse", "spearman"], "data.columns": {"textPair": "b"}},
    {"data.train.format": "dataset"},
]


@pytest.mark.parametrize("changes", RIGHT)
def test_what_the_task_has_is_taken(changes: dict[str, Any]) -> None:
    assert errors_of(changes) == []


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, ("accuracy", "max")), (SEVERAL, ("microF1", "max")), (NUMBER, ("rmse", "min"))]
)
def test_each_kind_of_labels_has_an_objective_of_its_own(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert objective(FineTuneJobSpec.model_validate(job(changes)["spec"])) == expected


def test_a_searched_smoothing_is_looked_at_for_the_kind_too() -> None:
    searched = {"search.parameters": [parameter("training.labelSmoothing", choice={"values": [0.0, 0.1]})]}
    assert errors_of(SEVERAL | searched) == []
    (error,) = errors_of(NUMBER | searched)
    assert error.path == "spec.search.parameters[0]"
    assert "has no labels to smooth" in error.message


def test_a_searched_step_is_looked_at_too() -> None:
    changes = IMAGES | {
        "data.augment": [{"rotation": {"degrees": 20}}],
        "search.parameters": [parameter("data.augment[0].rotation.degrees", choice={"values": [10, 400]})],
    }
    (error,) = errors_of(changes)
    assert error.path == "spec.search.parameters[0]"
    assert "with value 400" in error.message


def test_every_step_is_in_the_reference() -> None:
    text = reference_text()
    for name, task in TASKS.items():
        for of, steps in (("features", task.features), ("augment", task.augmentation)):
            assert not steps or f"### {of} of {name}" in text
            assert [step for step in steps if f"| `{step}` | " not in text] == []
