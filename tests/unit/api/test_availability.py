"""Nothing that this version does not do is silently accepted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests import errors_of, parameter, phase
from thaw_api import FieldError
from thaw_api.crd import object_schema
from thaw_api.freezing import HAS_DEPTH
from thaw_api.structural_schema import Schema, walk

UNAVAILABLE: list[tuple[str, dict[str, Any], str]] = [
    ("elastic workers", {"cluster.workers": {"min": 1, "max": 2}}, "spec.cluster.workers.min"),
]
"""Blocks; single values of a choice are found in the schema, below."""

FORMATS = {
    "csv",
    "tsv",
    "jsonl",
    "parquet",
    "dataset",
    "text",
    "imagefolder",
    "audiofolder",
    "conll",
    "squad",
    "coco",
    "gymnasium",
}
AVAILABLE = {
    "spec.task": {
        *("text-classification", "token-classification", "causal-lm", "image-classification", "face-recognition"),
        *("audio-classification", "speech-recognition", "question-answering", "translation", "summarization"),
        *("object-detection", "reinforcement-learning"),
    },
    "spec.model.init": {"pretrained", "random"},
    "spec.model.dtype": {"float32", "bfloat16"},
    "spec.model.adapter.method": {"lora", "qlora", "dora", "ia3"},
    "spec.model.head.margin.method": {"arcface", "cosface"},
    "spec.model.head.reset": {"values", "all"},
    "spec.data.train.format": FORMATS,
    "spec.data.validation.format": FORMATS,
    "spec.data.test.format": FORMATS,
    "spec.data.labels.kind": {"single-label", "multi-label", "regression"},
    "spec.data.batching.strategy": {"bucket", "pad", "pack"},
    "spec.training.classWeights": {"none", "balanced"},
    "spec.training.optimizer.name": {"adamw", "sgd"},
    "spec.training.schedule.name": {"linear", "cosine", "constant", "slanted-triangular"},
    "spec.training.schedule.span": {"run", "phase"},
    "spec.training.sharding": {"none", "full"},
    "spec.training.precision": {"float32", "bfloat16"},
    "spec.freezing.preset": {
        *(
            "none",
            "head-only",
            "last-n",
            "first-n",
            "gradual",
            "ulmfit",
            "lp-ft",
            "chain-thaw",
            "bitfit",
            "lisa",
            "badam",
        )
    },
    "spec.freezing.phases[].schedule": {"linear", "cosine", "constant", "slanted-triangular"},
    "spec.freezing.phases[].optimizerState": {"keep", "fresh"},
    "spec.freezing.phases[].rotate.order": {"random", "shuffled", "ascending", "descending"},
    "spec.freezing.frozenNorms": {"eval", "train"},
    "spec.freezing.frozenDropout": {"off", "on"},
    "spec.freezing.cache.mode": {"auto", "always", "never"},
    "spec.search.objective.mode": {"max", "min"},
    "spec.search.algorithm.name": {"grid", "random", "tpe"},
    "spec.search.refit": {"none", "trainAndValidation"},
    "spec.search.scheduler.name": {"none", "asha"},
}
"""What each choice of the schema may be in this version; every other value is refused."""

ENVIRONMENT = {"uri": "gymnasium://CartPole-v1"}
AGENT = {"task": "reinforcement-learning", "data.train": ENVIRONMENT}
NEEDED: dict[str, dict[str, Any]] = {
    "spec.freezing.preset": {"freezing.depth": 1},
    "spec.model.head.margin.method": {"task": "face-recognition"},
    "spec.model.head.reset": AGENT,
    "spec.data.batching.strategy": {"task": "causal-lm"},
    **{
        f"spec.data.{split}.format": {f"data.{split}": {"uri": f"pkg://package/{split}"}}
        for split in ("train", "validation", "test")
    },
}
"""What a choice cannot stand without."""


READS = {
    "imagefolder": "image-classification",
    "audiofolder": "audio-classification",
    "coco": "object-detection",
    "conll": "token-classification",
    "squad": "question-answering",
    "text": "causal-lm",
}
"""A task that reads a format, where text classification does not."""


def choices() -> dict[str, list[str]]:
    """Every field of the spec that has a list of allowed values."""
    found: dict[str, list[str]] = {}

    def note(path: str, node: Schema) -> None:
        if "enum" in node:
            found[path] = node["enum"]

    walk(object_schema()["properties"]["spec"], note, "spec")
    return found


@pytest.mark.parametrize(("changes", "path"), [row[1:] for row in UNAVAILABLE], ids=[row[0] for row in UNAVAILABLE])
def test_a_block_that_this_version_does_not_do_is_refused(changes: dict[str, Any], path: str) -> None:
    (error,) = errors_of(changes)
    assert error.path == path
    assert error.message.startswith("not available yet")


def test_somebody_decided_for_every_choice_of_the_schema() -> None:
    assert choices().keys() == AVAILABLE.keys()


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in choices().items() for value in values])
def test_a_choice_is_done_or_refused_as_not_available_yet(path: str, value: str) -> None:
    changes = in_a_phase(path, value) or NEEDED.get(path, {}) | {path.removeprefix("spec."): value}
    if path == "spec.freezing.preset" and value not in HAS_DEPTH:
        del changes["freezing.depth"]
    if path.endswith(".format") and value in READS:
        changes["task"] = READS[value]
    if value == "reinforcement-learning":
        changes |= AGENT
    if value == "gymnasium":
        split = path.split(".")[2]
        changes = AGENT | {f"data.{split}": ENVIRONMENT | {"format": value}}
    errors = errors_of(changes)
    if value in AVAILABLE[path]:
        assert errors == []
    else:
        assert [error.path for error in errors if "not available yet" in error.message] == [path]


def in_a_phase(path: str, value: str) -> dict[str, Any] | None:
    """A choice that stands in a freezing phase."""
    match path.removeprefix("spec.freezing.phases[].").split("."):
        case ["rotate", name]:
            rotation = {"blocks": 1, "every": {"steps": 1}, name: value}
            return {"freezing.phases": [phase(train=["all"], rotate=rotation)]}
        case [name]:
            return {"freezing.phases": [phase(**{name: value})]}
    return None


@pytest.mark.parametrize("scheme", ["hf", "pkg", "file", "pvc"])
def test_a_model_comes_from_the_hub_a_package_a_file_or_a_claim(scheme: str) -> None:
    assert errors_of({"model.uri": f"{scheme}://a/b"}) == []


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_an_output_elsewhere_is_not_available_yet(scheme: str) -> None:
    (error,) = errors_of({"output.uri": f"{scheme}://a/b"})
    assert error == FieldError("spec.output.uri", f"not available yet: output.uri={scheme}:")


@pytest.mark.parametrize("uri", ["pvc:models/out", "pvc://", "pvc:///out", "pvc://Models/out", "pvc://models/a b"])
def test_a_claims_uri_names_the_claim(uri: str) -> None:
    (error,) = errors_of({"output.uri": uri})
    assert error.path == "spec.output.uri"


@pytest.mark.parametrize("scheme", ["s3", "gs", "job"])
def test_a_model_from_elsewhere_is_not_available_yet(scheme: str) -> None:
    (error,) = errors_of({"model.uri": f"{scheme}://a/b"})
    assert error == FieldError("spec.model.uri", f"not available yet: model.uri={scheme}:")


@pytest.mark.parametrize("name", ["train", "validation", "test"])
@pytest.mark.parametrize("scheme", ["hf", "s3", "gs", "job"])
def test_data_from_elsewhere_is_not_available_yet(name: str, scheme: str) -> None:
    (error,) = errors_of({f"data.{name}": {"uri": f"{scheme}://a/b"}})
    assert error == FieldError(f"spec.data.{name}.uri", f"not available yet: data.{name}.uri={scheme}:")


@pytest.mark.parametrize(("name", "value", "told"), [("sharding", "full", "full"), ("compile", True, "true")])
def test_a_model_in_four_bits_is_neither_divided_nor_compiled_yet(name: str, value: Any, told: str) -> None:
    (error,) = errors_of({"model.adapter": {"method": "qlora"}, f"training.{name}": value})
    assert str(error) == f"spec.training.{name}: not available yet: training.{name}={told} with qlora"
    assert errors_of({"model.adapter": {"method": "lora"}, f"training.{name}": value}) == []


def test_all_that_is_not_available_is_told_at_once() -> None:
    changes = {key: value for _, block, _ in UNAVAILABLE for key, value in block.items()}
    paths = {error.path for error in errors_of(changes)}
    assert paths == {path for _, _, path in UNAVAILABLE}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.uri", "s3://bucket/model"),
        ("model.uri", "job://other"),
    ],
)
def test_a_trial_may_use_no_more_than_the_job(path: str, value: str) -> None:
    (error,) = errors_of({"search.parameters": [parameter(path, choice={"values": [value]})]})
    assert error.path == "spec.search.parameters[0]"
    assert f"path {path} with value {value!r}" in error.message
    assert "not available yet" in error.message


def test_what_this_version_does_is_accepted_together() -> None:
    changes = {
        "model": {
            "uri": "file:model",
            "init": "random",
            "head": {"dropout": 0.2},
            "adapter": {"method": "dora", "rank": 4, "alpha": 8, "dropout": 0.1, "targets": ["query"]},
        },
        "data.split": {"stratifyBy": "label", "groupBy": "author"},
        "freezing.phases": [phase("head"), phase("all", train=["all"], until={"plateau": {}}, restoreBest=True)],
        "freezing.cache": {"mode": "always"},
        "training.earlyStopping": {},
        "search": {"algorithm": {"name": "tpe"}, "scheduler": {"name": "asha"}, "parameters": [parameter()]},
        "cluster": {"workersPerTrial": 2, "workers": {"replicas": 2}},
    }
    assert errors_of(changes) == []
