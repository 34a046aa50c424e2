"""After its creation a job is what it is: only suspend, deadlines and, while suspended, the cluster change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.kubectl import Api
from tests.manifests import ABSENT, job, parameter, phase

CLUSTER_FIXED = "cluster may change only while the job is suspended: set suspend to true first"
PHASES = [phase("head"), phase("top", train=["head", "blocks[-2:]"]), phase("all", train=["all"])]
PARAMETERS = [parameter("training.optimizer.lr"), parameter("training.seed", int={"min": 1, "max": 9})]
STEPS: list[dict[str, Any]] = [{"dropMissing": {}}, {"dropDuplicates": {"by": ["text"]}}]
ENV = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
STORED: dict[str, Any] = {
    "freezing.phases": PHASES,
    "search.parameters": PARAMETERS,
    "data.clean": STEPS,
    "data.columns": {"text": "summary"},
    "evaluation.metrics": ["accuracy", "f1"],
    "cluster": {"image": "trainer:1", "workers": {"replicas": 2, "resources": {"cpu": 2}, "env": ENV}},
    "activeDeadlineSeconds": 3600,
}


@dataclass(frozen=True)
class Transition:
    """A change of a stored job, and the message that refuses it; "" where it is taken."""

    what: str
    changes: dict[str, Any]
    message: str
    suspended: bool = False


def fixed(name: str) -> str:
    return f"{name} is immutable: create a new job to change it"


def renamed(items: list[dict[str, Any]], index: int, **changes: Any) -> list[dict[str, Any]]:
    """A copy of the list with one item changed."""
    copy = deepcopy(items)
    copy[index] |= changes
    return copy


def lists(name: str, path: str, items: list[dict[str, Any]], change: list[Any], more: Any) -> list[Transition]:
    """The ways to change a list."""
    return [
        Transition(f"{path}: reorder", {path: items[::-1]}, fixed(name)),
        Transition(f"{path}: add", {path: [*items, more]}, fixed(name)),
        Transition(f"{path}: remove", {path: items[:-1]}, fixed(name)),
        Transition(f"{path}: change", {path: change}, fixed(name)),
        Transition(f"{path}: leave out", {path: ABSENT}, fixed(name)),
    ]


TRANSITIONS = [
    Transition("nothing", {}, ""),
    Transition("a default is written out", {"training.epochs": 3}, ""),
    *lists("freezing", "freezing.phases", PHASES, renamed(PHASES, 0, name="first"), phase("more")),
    *lists(
        "search",
        "search.parameters",
        PARAMETERS,
        renamed(PARAMETERS, 0, path="training.epochs"),
        parameter("training.x"),
    ),
    *lists("data", "data.clean", STEPS, [{"dropEmpty": {}}, STEPS[1]], {"strip": {}}),
    Transition("options of a step", {"data.clean": [STEPS[0], {"dropDuplicates": {"by": ["label"]}}]}, fixed("data")),
    Transition("name of an option", {"data.clean": [STEPS[0], {"dropDuplicates": {"on": ["text"]}}]}, fixed("data")),
    Transition(
        "trained tensors", {"freezing.phases": renamed(PHASES, 1, train=["blocks[-2:]", "head"])}, fixed("freezing")
    ),
    Transition("end of a phase", {"freezing.phases": renamed(PHASES, 0, until={"epochs": 2})}, fixed("freezing")),
    Transition(
        "values of a choice",
        {"search.parameters": renamed(PARAMETERS, 0, choice={"values": [0.001, 0.1]})},
        fixed("search"),
    ),
    Transition(
        "order of a choice",
        {"search.parameters": renamed(PARAMETERS, 0, choice={"values": [0.01, 0.001]})},
        fixed("search"),
    ),
    Transition("order of metrics", {"evaluation.metrics": ["f1", "accuracy"]}, fixed("evaluation")),
    Transition("task", {"task": "summarization"}, fixed("task")),
    Transition("model", {"model.dtype": "bfloat16"}, fixed("model")),
    Transition("adapter", {"model.adapter": {"method": "lora"}}, fixed("model")),
    Transition("role of a column", {"data.columns": {"label": "summary"}}, fixed("data")),
    Transition("learning rate", {"training.optimizer": {"lr": 0.001}}, fixed("training")),
    Transition("trials", {"search.trials": 3}, fixed("search")),
    Transition("output", {"output.uri": "pvc://models/other"}, fixed("output")),
    Transition("restart policy", {"restartPolicy.onInfrastructure": 4}, fixed("restartPolicy")),
    Transition("suspend and the rest", {"suspend": True, "training.seed": 1}, fixed("training")),
    Transition("training of a suspended job", {"training.seed": 1}, fixed("training"), suspended=True),
    Transition("image", {"cluster.image": "trainer:2"}, CLUSTER_FIXED),
    Transition("no cluster", {"cluster": ABSENT}, CLUSTER_FIXED),
    Transition("resources", {"cluster.workers": {"replicas": 2, "resources": {"cpu": 3}, "env": ENV}}, CLUSTER_FIXED),
    Transition("cluster with its suspension", {"suspend": True, "cluster.image": "trainer:2"}, CLUSTER_FIXED),
    Transition("cluster of a suspended job", {"cluster.image": "trainer:2"}, "", suspended=True),
    Transition("cluster with its resumption", {"suspend": False, "cluster.image": "b:2"}, "", suspended=True),
    Transition("suspend", {"suspend": True}, ""),
    Transition("resume", {"suspend": False}, "", suspended=True),
    Transition("deadline", {"activeDeadlineSeconds": 60}, ""),
    Transition("no deadline", {"activeDeadlineSeconds": ABSENT}, ""),
    Transition("a first TTL", {"ttlSecondsAfterFinished": 60}, ""),
]


@contextmanager
def stored(api: Api, name: str, **changes: Any) -> Iterator[str]:
    """A job that is really there while the block runs."""
    api.kubectl("delete", "finetunejob", name, "--ignore-not-found")
    api.kubectl("create", "-f", "-", input=json.dumps(job(STORED | changes, name=name)))
    try:
        yield name
    finally:
        api.kubectl("delete", "finetunejob", name)


@pytest.fixture(scope="module")
def running(api: Api, crd: str) -> Iterator[str]:
    with stored(api, "immutable-running") as name:
        yield name


@pytest.fixture(scope="module")
def suspended(api: Api, crd: str) -> Iterator[str]:
    with stored(api, "immutable-suspended", suspend=True) as name:
        yield name


@pytest.mark.parametrize("transition", TRANSITIONS, ids=[transition.what for transition in TRANSITIONS])
def test_a_change_is_taken_or_refused(api: Api, running: str, suspended: str, transition: Transition) -> None:
    name, state = (suspended, {"suspend": True}) if transition.suspended else (running, {})
    manifest = job(STORED | state | transition.changes, name=name)
    done = api.kubectl("replace", "--dry-run=server", "-f", "-", input=json.dumps(manifest), check=False)
    if transition.message:
        assert done.returncode == 1
        assert f'spec: Invalid value: "object": {transition.message}' in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_a_value_of_another_type_is_another_value(api: Api, crd: str) -> None:
    choice = {"search.parameters": [parameter("training.epochs", choice={"values": [1, 2]})]}
    with stored(api, "immutable-types", **choice) as name:
        text = {"search.parameters": [parameter("training.epochs", choice={"values": ["1", 2]})]}
        done = api.kubectl(
            "replace", "--dry-run=server", "-f", "-", input=json.dumps(job(STORED | text, name=name)), check=False
        )
    assert fixed("search") in done.stderr
