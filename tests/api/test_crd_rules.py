"""Each CEL rule refuses what it should, and takes the nearest manifest that is right. Most of it is one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import ValidationError

from tests.api.test_crd_immutability import TRANSITIONS
from tests.cluster.kubectl import Api, KubectlError
from tests.manifests import job, parameter, phase
from thaw_api import FineTuneJobSpec
from thaw_api.crd import object_schema
from thaw_api.structural_schema import Schema, walk

WARM = "warmStart: on a cluster not available yet"
LOCAL = "file: is for `thaw run`; on a cluster use pvc://, s3:// …"
ONE_DOMAIN = "a parameter needs exactly one of uniform, logUniform, int, choice"
LENGTH = "keys must have 1 to 253 characters"
PARALLEL = "must be auto, or a whole number from 1 to 1024"


@dataclass(frozen=True)
class Case:
    """A rule by the path of its object and its message, a spec that it refuses, and a neighbour that it takes."""

    path: str
    message: str
    bad: dict[str, Any]
    good: dict[str, Any]


def domain(kind: str, **bounds: Any) -> dict[str, Any]:
    return {"search.parameters": [{"path": "training.optimizer.lr", kind: bounds}]}


def workers(**fields: Any) -> dict[str, Any]:
    return {"cluster.workers": fields}


def search(name: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"search": {"algorithm": {"name": name}, "parameters": list(parameters)}}


RANGE = {"min": 0.1, "max": 0.2}
SECRET = {"name": "token", "key": "token"}
ONE_STEP: dict[str, Any] = {"every": {"steps": 1}}
CASES = [
    *(
        Case(
            "spec.model.adapter",
            f"ia3 has no {name}; lora, qlora and dora have",
            {"model.adapter": {"method": "ia3", name: value}},
            {"model.adapter": {"method": "lora", name: value}},
        )
        for name, value in (("rank", 4), ("alpha", 4.0), ("dropout", 0.1))
    ),
    Case(
        "spec",
        "training.batchSize must be a multiple of cluster.workersPerTrial x training.gradientAccumulation",
        {"training": {"batchSize": 30, "gradientAccumulation": 2}, "cluster.workersPerTrial": 2},
        {"training": {"batchSize": 28, "gradientAccumulation": 2}, "cluster.workersPerTrial": 2},
    ),
    Case(
        "spec.training",
        "compile and sharding: full exclude each other",
        {"training": {"compile": True, "sharding": "full"}},
        {"training": {"compile": True, "sharding": "none"}},
    ),
    Case("spec.model", LOCAL, {"model.uri": "file:m"}, {"model.uri": "pkg:m"}),
    Case("spec.data.train", LOCAL, {"data.train": {"uri": "file:t"}}, {"data.train": {"uri": "pvc://t"}}),
    Case("spec.data.validation", LOCAL, {"data.validation": {"uri": "file:t"}}, {"data.validation": {"uri": "s3:t"}}),
    Case("spec.data.test", LOCAL, {"data.test": {"uri": "file:t"}}, {"data.test": {"uri": "gs:t"}}),
    Case("spec.output", LOCAL, {"output.uri": "file:o"}, {"output.uri": "pvc://o"}),
    Case(
        "spec.data.columns",
        "keys must match ^[a-z][A-Za-z0-9]*$",
        {"data.columns": {"Text": "a"}},
        {"data.columns": {"text": "A"}},
    ),
    Case(
        "spec.data.columns",
        "keys must have 1 to 63 characters",
        {"data.columns": {"t" * 64: "a"}},
        {"data.columns": {"t" * 63: "a"}},
    ),
    Case(
        "spec.data.labels",
        "separator is for kind multi-label, whose cells hold several labels",
        {"data.labels": {"separator": ";"}},
        {"data.labels": {"separator": ";", "kind": "multi-label"}},
    ),
    Case(
        "spec.data.split",
        "validation and test must leave rows to train on: their sum must be below 1",
        {"data.split": {"validation": 0.5, "test": 0.5}},
        {"data.split": {"validation": 0.5, "test": 0.25}},
    ),
    Case(
        "spec.data.split",
        "timeBy excludes stratifyBy and groupBy: time alone says which split a row is in",
        {"data.split": {"timeBy": "day", "groupBy": "author"}},
        {"data.split": {"timeBy": "day"}},
    ),
    Case(
        "spec.freezing",
        "preset and phases exclude each other: give one",
        {"freezing": {"preset": "none", "phases": [phase()]}},
        {"freezing": {"phases": [phase()]}},
    ),
    Case(
        "spec.freezing",
        "presets last-n and first-n need depth: the number of blocks to train",
        {"freezing": {"preset": "first-n"}},
        {"freezing": {"preset": "last-n", "depth": 1}},
    ),
    Case(
        "spec.freezing",
        "depth belongs to the presets last-n, first-n, gradual, ulmfit, lisa and badam",
        {"freezing": {"preset": "head-only", "depth": 1}},
        {"freezing": {"preset": "gradual", "depth": 1}},
    ),
    Case(
        "spec.freezing",
        "lr belongs to presets: give each of your own phases its lr",
        {"freezing": {"phases": [phase()], "lr": {"decay": 2.6}}},
        {"freezing": {"preset": "gradual", "lr": {"decay": 2.6}}},
    ),
    Case(
        "spec.freezing",
        "phases need names that differ",
        {"freezing.phases": [phase("a"), phase("b"), phase("a")]},
        {"freezing.phases": [phase("a"), phase("b"), phase("c")]},
    ),
    Case(
        "spec.freezing.phases[].until",
        "a phase needs a trigger: epochs, steps, fraction, plateau, metric, time or all",
        {"freezing.phases": [phase(until={})]},
        {"freezing.phases": [phase(until={"plateau": {}})]},
    ),
    Case(
        "spec.freezing.phases[].until.all[]",
        "an entry of all is exactly one of epochs, steps, fraction, plateau, metric, time",
        {"freezing.phases": [phase(until={"all": [{}]})]},
        {"freezing.phases": [phase(until={"all": [{"steps": 3}, {"time": "10m"}]})]},
    ),
    *(
        Case(
            f"spec.freezing.phases[].until.{metric}",
            "metric needs exactly one of above and below",
            {"freezing.phases": [phase(until=until({"above": 0.9, "below": 0.1}))]},
            {"freezing.phases": [phase(until=until({"above": 0.9}))]},
        )
        for metric, until in (
            ("metric", lambda bounds: {"metric": bounds}),
            ("all[].metric", lambda bounds: {"all": [{"metric": bounds}]}),
        )
    ),
    Case(
        "spec.freezing.phases[].rotate.every",
        "every needs exactly one of steps and epochs",
        {"freezing.phases": [phase(rotate={"blocks": 1, "every": {"steps": 1, "epochs": 1}})]},
        {"freezing.phases": [phase(rotate={"blocks": 1, "every": {"epochs": 1}})]},
    ),
    Case(
        "spec.freezing.phases[].adaptive.every",
        "every needs exactly one of steps and epochs",
        {"freezing.phases": [phase(adaptive={"every": {}})]},
        {"freezing.phases": [phase(adaptive={"every": {"steps": 1}})]},
    ),
    Case(
        "spec.freezing.phases[]",
        "adaptive and rotate exclude each other: give one",
        {"freezing.phases": [phase(adaptive=ONE_STEP, rotate=ONE_STEP | {"blocks": 1})]},
        {"freezing.phases": [phase(adaptive=ONE_STEP)]},
    ),
    Case(
        "spec.freezing",
        "cache.mode always excludes frozenDropout on: what is frozen would differ from epoch to epoch",
        {"freezing": {"cache": {"mode": "always"}, "frozenDropout": "on"}},
        {"freezing": {"cache": {"mode": "auto"}, "frozenDropout": "on"}},
    ),
    Case(
        "spec.freezing.lr",
        "lowest and decay exclude each other: give one",
        {"freezing": {"preset": "gradual", "lr": {"decay": 2.6, "lowest": 1e-5}}},
        {"freezing": {"preset": "gradual", "lr": {"lowest": 1e-5}}},
    ),
    Case(
        "spec.freezing.phases[].lr",
        "lowest and decay exclude each other: give one",
        {"freezing.phases": [phase(lr={"decay": 2.6, "lowest": 1e-5})]},
        {"freezing.phases": [phase(lr={"decay": 1.0, "lowest": 1e-5})]},
    ),
    Case(
        "spec.search",
        "parameters need paths that differ",
        {"search.parameters": [parameter("training.epochs"), parameter("training.epochs")]},
        {"search.parameters": [parameter("training.epochs"), parameter("training.seed")]},
    ),
    Case(
        "spec.search",
        "algorithm grid needs choice for every parameter",
        search("grid", parameter(), parameter("training.seed", uniform=RANGE)),
        search("random", parameter(), parameter("training.seed", uniform=RANGE)),
    ),
    Case(
        "spec.search",
        "soup and refit exclude each other: one averages trials, the other trains the best one anew",
        {"search": {"soup": 3, "refit": "trainAndValidation"}},
        {"search": {"soup": 3, "refit": "none"}},
    ),
    Case(
        "spec.search",
        WARM,
        {"search": {"warmStart": ["file:a"], "algorithm": {"name": "tpe"}, "parameters": [parameter()]}},
        {"search": {"algorithm": {"name": "tpe"}, "parameters": [parameter()]}},
    ),
    Case(
        "spec.search",
        "warmStart needs algorithm tpe: the others learn nothing from earlier trials",
        {"search": {"warmStart": ["file:a"], "parameters": [parameter()]}},
        {"search": {"parameters": [parameter()]}},
    ),
    Case(
        "spec.search",
        "warmStart needs parameters: without any there is nothing to know",
        {"search": {"warmStart": ["file:a"], "algorithm": {"name": "tpe"}}},
        {"search": {"algorithm": {"name": "tpe"}}},
    ),
    Case("spec.search.parallel", PARALLEL, {"search.parallel": "all"}, {"search.parallel": "auto"}),
    Case(
        "spec.search.parameters[]",
        ONE_DOMAIN,
        # Two properties at most: only an object without a domain gets as far as the rule.
        {"search.parameters": [{"path": "training.seed"}]},
        {"search.parameters": [parameter("training.seed", int={"min": 1, "max": 2})]},
    ),
    *(
        Case(
            f"spec.search.parameters[].{kind}",
            "min must be below max",
            domain(kind, min=2, max=2),
            domain(kind, min=2, max=3),
        )
        for kind in ("uniform", "logUniform", "int")
    ),
    Case(
        "spec.evaluation.require",
        LENGTH,
        {"evaluation.require": {"": ">= 0.9"}},
        {"evaluation.require": {"f": ">= 0.9"}},
    ),
    Case("spec.cluster.workers", "min and max belong together", workers(min=1), workers(min=1, max=1)),
    Case("spec.cluster.workers", "min must not be above max", workers(min=2, max=1), workers(min=2, max=2)),
    Case(
        "spec.cluster.workers",
        "give replicas, or min and max",
        workers(replicas=1, min=1, max=2),
        workers(replicas=1),
    ),
    Case(
        "spec.cluster.workers.resources",
        LENGTH,
        workers(resources={"r" * 254: 1}),
        workers(resources={"r" * 253: 1}),
    ),
    Case(
        "spec.cluster.workers.nodeSelector",
        LENGTH,
        workers(nodeSelector={"": "a"}),
        workers(nodeSelector={"a": ""}),
    ),
    Case(
        "spec.cluster.workers.env[]",
        "give exactly one of value and secretKeyRef",
        workers(env=[{"name": "A", "value": "1", "secretKeyRef": SECRET}]),
        workers(env=[{"name": "A", "value": "1"}, {"name": "B", "secretKeyRef": SECRET}]),
    ),
]
NAMES = [f"{case.path}: {case.message}" for case in CASES]


def rules() -> set[tuple[str, str]]:
    """Every rule of the schema: the path of its object and its message."""
    found: set[tuple[str, str]] = set()

    def note(path: str, node: Schema) -> None:
        found.update((path, rule["message"]) for rule in node.get("x-kubernetes-validations", ()))

    walk(object_schema(), note)
    return found


def test_every_rule_has_a_case_and_every_case_a_rule() -> None:
    covered = {(case.path, case.message) for case in CASES}
    covered |= {("spec", transition.message) for transition in TRANSITIONS if transition.message}
    assert covered == rules()


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_rule_refuses_what_it_should(api: Api, crd: str, case: Case) -> None:
    with pytest.raises(KubectlError) as refused:
        api.dry_run(job(case.bad))
    assert case.message in refused.value.stderr
    assert case.path.replace("[]", "[0]") in refused.value.stderr


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_rule_takes_the_nearest_manifest_that_is_right(api: Api, crd: str, case: Case) -> None:
    assert api.dry_run(job(case.good))["spec"]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_models_take_the_same_manifest(case: Case) -> None:
    assert FineTuneJobSpec.model_validate(job(case.good)["spec"])


@pytest.mark.parametrize("case", [case for case in CASES if case.message not in (LOCAL, WARM)])
def test_the_models_refuse_the_same_manifest(case: Case) -> None:
    with pytest.raises(ValidationError):
        FineTuneJobSpec.model_validate(job(case.bad)["spec"])


@pytest.mark.parametrize("value", [0, 1025, -1])
def test_parallel_is_a_number_within_bounds(api: Api, crd: str, value: int) -> None:
    with pytest.raises(KubectlError) as refused:
        api.dry_run(job({"search.parallel": value}))
    assert PARALLEL in refused.value.stderr


@pytest.mark.parametrize("value", [1, 1024])
def test_parallel_may_be_at_its_bounds(api: Api, crd: str, value: int) -> None:
    assert api.dry_run(job({"search.parallel": value}))["spec"]["search"]["parallel"] == value
