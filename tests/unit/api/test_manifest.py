"""Reading a manifest: every error at once, each with the path of its field and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests import ABSENT, job, parameter, phase
from thaw_api import FieldError, FineTuneJobSpec, InvalidManifest, read_job


def errors_of(manifest: Any, overrides: list[str] | None = None) -> list[FieldError]:
    with pytest.raises(InvalidManifest) as refused:
        read_job(manifest, overrides)
    return refused.value.errors


def one_error(changes: dict[str, Any]) -> FieldError:
    (error,) = errors_of(job(changes))
    return error


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    # what a field is called
    ("unknown", {"training.epoch": 3}, "spec.training.epoch", "unknown field; did you mean epochs?"),
    ("unknown at the top", {"trainin": {}}, "spec.trainin", "unknown field; did you mean training?"),
    ("snake case", {"training.batchsize": 3}, "spec.training.batchsize", "unknown field; did you mean batchSize?"),
    ("like no other", {"model.head.zzz": 1}, "spec.model.head.zzz", "unknown field; known here: dropout"),
    (
        "unknown in a list",
        {"freezing.phases": [phase(unti1={})]},
        "spec.freezing.phases[0].unti1",
        "unknown field; did you mean until?",
    ),
    ("missing", {"output": ABSENT}, "spec.output", "required, and missing"),
    ("missing inside", {"data": {}}, "spec.data.train", "required, and missing"),
    (
        "missing in a list",
        {"freezing.phases": [{"name": "a", "train": ["head"]}]},
        "spec.freezing.phases[0].until",
        "required, and missing",
    ),
    # what type it has
    ("text for a number", {"training.epochs": "x"}, "spec.training.epochs", "must be a valid integer; found 'x'"),
    ("quoted number", {"training.optimizer.lr": "3e-4"}, "spec.training.optimizer.lr", "must be a valid number"),
    ("fraction", {"training.epochs": 1.5}, "spec.training.epochs", "must be a valid integer"),
    ("boolean for a number", {"training.epochs": True}, "spec.training.epochs", "must be a valid integer"),
    ("number for a boolean", {"suspend": 1}, "spec.suspend", "must be a valid boolean"),
    ("number for text", {"cluster.image": 3}, "spec.cluster.image", "must be a valid string; found 3"),
    ("list for an object", {"training": []}, "spec.training", "found a list"),
    ("object for a list", {"freezing.phases": {}}, "spec.freezing.phases", "must be a valid"),
    ("null where a value must be", {"training.epochs": None}, "spec.training.epochs", "must be a valid integer"),
    ("infinite", {"training.optimizer.lr": float("inf")}, "spec.training.optimizer.lr", "must be a finite number"),
    (
        "neither word nor number",
        {"search.parallel": "many"},
        "spec.search.parallel",
        "must be a valid integer; found 'many', or: must be 'auto'",
    ),
    ("no quantity", {"cluster.workers": {"resources": {"cpu": "x"}}}, "spec.cluster.workers.resources.cpu", "pattern"),
    # which values it takes
    ("too small", {"training.epochs": 0}, "spec.training.epochs", "must be greater than or equal to 1; found 0"),
    ("too large", {"training.optimizer.lr": 20}, "spec.training.optimizer.lr", "must be less than or equal to 10"),
    ("at an open bound", {"training.optimizer.lr": 0}, "spec.training.optimizer.lr", "must be greater than 0"),
    ("in a list", {"training.optimizer.betas": [0.9, 1.0]}, "spec.training.optimizer.betas[1]", "less than 1"),
    ("list too short", {"training.optimizer.betas": [0.9]}, "spec.training.optimizer.betas", "at least 2"),
    ("negative resource", {"cluster.workers": {"resources": {"cpu": -1}}}, "spec.cluster.workers.resources.cpu", "0"),
    ("no such choice", {"training.optimizer.name": "adm"}, "spec.training.optimizer.name", "'adamw' or 'sgd'"),
    ("no such task", {"task": "classification"}, "spec.task", "text-classification"),
    ("no such scheme", {"model.uri": "ftp://x"}, "spec.model.uri", "pattern"),
    ("key of columns", {"data.columns": {"Text": "a"}}, "spec.data.columns.Text", "pattern"),
    # what fits together
    ("phases and preset", {"freezing": {"preset": "none", "phases": [phase()]}}, "spec.freezing", "exclude each other"),
    ("last-n", {"freezing": {"preset": "last-n"}}, "spec.freezing", "last-n and first-n need depth"),
    ("depth alone", {"freezing": {"depth": 2}}, "spec.freezing", "depth belongs to the presets last-n,"),
    ("same phase", {"freezing.phases": [phase("a"), phase("a")]}, "spec.freezing", "phases need names that differ"),
    (
        "no trigger",
        {"freezing.phases": [phase(until={})]},
        "spec.freezing.phases[0].until",
        "a phase needs a trigger: epochs, steps, fraction,",
    ),
    ("nothing to train on", {"data.split": {"test": 0.9}}, "spec.data.split", "must leave rows to train on"),
    (
        "compiled shards",
        {"training": {"compile": True, "sharding": "full"}},
        "spec.training",
        "compile and sharding: full exclude each other",
    ),
    ("ragged batch", {"cluster.workersPerTrial": 3}, "spec", "training.batchSize must be a multiple of"),
    (
        "same path",
        {"search.parameters": [parameter(), parameter()]},
        "spec.search",
        "parameters need paths that differ",
    ),
    (
        "grid over a range",
        {"search": {"algorithm": {"name": "grid"}, "parameters": [parameter(uniform={"min": 0.1, "max": 0.2})]}},
        "spec.search",
        "algorithm grid needs choice for every parameter",
    ),
    (
        "no domain",
        {"search.parameters": [{"path": "training.epochs"}]},
        "spec.search.parameters[0]",
        "exactly one of uniform, logUniform, int, choice",
    ),
    (
        "two domains",
        {"search.parameters": [parameter(uniform={"min": 0.1, "max": 0.2}, choice={"values": [1]})]},
        "spec.search.parameters[0]",
        "exactly one of uniform, logUniform, int, choice",
    ),
    (
        "empty range",
        {"search.parameters": [parameter(uniform={"min": 0.2, "max": 0.2})]},
        "spec.search.parameters[0].uniform",
        "min must be below max",
    ),
    (
        "empty range of whole numbers",
        {"search.parameters": [parameter("training.epochs", int={"min": 2, "max": 2})]},
        "spec.search.parameters[0].int",
        "min must be below max",
    ),
    (
        "mapping as a value",
        {"search.parameters": [parameter(choice={"values": [{}]})]},
        "spec.search.parameters[0].choice.values[0]",
        "must be a valid string",
    ),
    ("min alone", {"cluster.workers": {"min": 1}}, "spec.cluster.workers", "min and max belong together"),
    ("min above max", {"cluster.workers": {"min": 2, "max": 1}}, "spec.cluster.workers", "min must not be above max"),
    (
        "two sizes",
        {"cluster.workers": {"replicas": 1, "min": 1, "max": 2}},
        "spec.cluster.workers",
        "give replicas, or min and max",
    ),
    (
        "env without a source",
        {"cluster.workers": {"env": [{"name": "A"}]}},
        "spec.cluster.workers.env[0]",
        "give exactly one of value and secretKeyRef",
    ),
    (
        "env twice",
        {"cluster.workers": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "spec.cluster.workers",
        "env needs names that differ",
    ),
    ("step of two keys", {"data.clean": [{"a": {}, "b": {}}]}, "spec.data.clean[0]", "a step has one key"),
    ("step of no key", {"data.features": [{"a": {}}, {}]}, "spec.data.features[1]", "a step has one key"),
    ("step of an empty value", {"data.augment": [{"flip": None}]}, "spec.data.augment[0]", "write flip: {}"),
    # what the task has
    ("objective", {"search.objective.metric": "bleu"}, "spec.search.objective.metric", "no metric 'bleu'; it has acc"),
    ("metric", {"evaluation.metrics": ["f1", "wer"]}, "spec.evaluation.metrics[1]", "has no metric 'wer'"),
    (
        "watched metric",
        {"training.earlyStopping": {"metric": "wer"}},
        "spec.training.earlyStopping.metric",
        "has no metric 'wer'",
    ),
    (
        "plateau's metric",
        {"freezing.phases": [phase(until={"plateau": {"metric": "wer"}})]},
        "spec.freezing.phases[0].until.plateau.metric",
        "has no metric 'wer'",
    ),
    ("role", {"data.columns": {"txt": "a"}}, "spec.data.columns.txt", "no such role; it has text, label"),
    # what may be searched
    (
        "path of no field",
        {"search.parameters": [parameter("training.foo")]},
        "spec.search.parameters[0]",
        "path training.foo with value 0.001: training.foo: unknown field",
    ),
    (
        "path of no item",
        {"search.parameters": [parameter("freezing.phases[0].train[0]", choice={"values": ["head"]})]},
        "spec.search.parameters[0]",
        "matches nothing: this spec has no freezing.phases",
    ),
    (
        "path of an object",
        {"search.parameters": [parameter("training.optimizer")]},
        "spec.search.parameters[0]",
        "path training.optimizer with value 0.001",
    ),
    (
        "value out of range",
        {"search.parameters": [parameter(logUniform={"min": 0.1, "max": 20})]},
        "spec.search.parameters[0]",
        "path training.optimizer.lr with value 20.0: training.optimizer.lr: must be less than or equal to 10",
    ),
    (
        "value that does not fit the rest",
        {"search.parameters": [parameter("data.split.test", choice={"values": [0.1]})]},
        "spec.search.parameters[0].path",
        "pattern",
    ),
    (
        "ragged batch in a trial",
        {
            "training.gradientAccumulation": 4,
            "search.parameters": [parameter("training.batchSize", choice={"values": [32, 30]})],
        },
        "spec.search.parameters[0]",
        "path training.batchSize with value 30: training.batchSize must be a multiple of",
    ),
    *(
        (f"path {path}", {"search.parameters": [parameter(path)]}, "spec.search.parameters[0].path", "pattern")
        for path in (
            "data.clean[0]",
            "evaluation.metrics[0]",
            "search.trials",
            "output.uri",
            "cluster.image",
            "training..lr",
            "training.",
            "trainings.lr",
            "task",
        )
    ),
]


@pytest.mark.parametrize(("changes", "path", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_field_is_refused_at_its_path(changes: dict[str, Any], path: str, message: str) -> None:
    error = one_error(changes)
    assert error.path == path
    assert message in error.message


def test_the_minimal_manifest_is_valid() -> None:
    assert read_job(job()).metadata.name == "sections"


def test_every_error_is_told_at_once() -> None:
    changes = {"task": "x", "training": {"epochs": 0, "seeed": 1}, "output": ABSENT}
    assert [error.path for error in errors_of(job(changes))] == [
        "spec.task",
        "spec.training.epochs",
        "spec.training.seeed",
        "spec.output",
    ]


@pytest.mark.parametrize("name", ["Sections", "1st", "a-", "a_b", "a.b", "", "a" * 41])
def test_a_name_that_a_ray_job_could_not_have_is_refused(name: str) -> None:
    (error,) = errors_of(job(name=name))
    assert error.path == "metadata.name"


@pytest.mark.parametrize("name", ["a", "a-1", "a" * 40])
def test_a_name_that_a_ray_job_can_have_is_taken(name: str) -> None:
    assert read_job(job(name=name)).metadata.name == name


@pytest.mark.parametrize(("field", "value"), [("apiVersion", "thaw.dev/v1"), ("kind", "TrainJob")])
def test_another_kind_of_object_is_refused(field: str, value: str) -> None:
    (error,) = errors_of({**job(), field: value})
    assert error.path == field


@pytest.mark.parametrize("document", [[], "text", 3])
def test_what_is_no_mapping_is_refused(document: Any) -> None:
    (error,) = errors_of(document)
    assert "a FineTuneJob is a mapping" in error.message


def test_a_number_that_is_whole_is_an_integer_as_json_has_it() -> None:
    assert read_job(job({"training.epochs": 4.0})).spec.training.epochs == 4


def test_what_was_read_is_read_back_the_same() -> None:
    changes = {
        "freezing.phases": [phase("head"), phase("all", train=["all"], until={"fraction": 1.0})],
        "search.parameters": [parameter(choice={"values": [1, 1.5, "a", True]}, path="training.optimizer.name")],
        "cluster.workers": {"resources": {"cpu": 2, "memory": "4Gi"}, "env": [{"name": "A", "value": ""}]},
    }
    spec = FineTuneJobSpec.model_validate(job(changes)["spec"])
    assert FineTuneJobSpec.model_validate(spec.manifest()) == spec


def test_metadata_that_thaw_does_not_read_is_kept() -> None:
    manifest = job()
    manifest["metadata"] |= {"labels": {"kueue.x-k8s.io/queue-name": "research"}, "generation": 2}
    assert read_job(manifest).manifest()["metadata"] == manifest["metadata"]
