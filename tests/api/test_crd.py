"""The FineTuneJob resource as a real apiserver serves it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tests.cluster.kubectl import Api, KubectlError
from tests.cluster.polling import wait_until
from tests.manifests import ABSENT, job, parameter, phase
from thaw_api import FineTuneJobSpec

EXPLAIN_SECONDS = 30.0
FILE_REFUSED = "file: is for `thaw run`; on a cluster use pvc://, s3:// …"

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("unknown field", {"training.epoch": 3}, 'unknown field "spec.training.epoch"'),
    (
        "unknown field in a list",
        {"freezing.phases": [phase(unti1={})]},
        'unknown field "spec.freezing.phases[0].unti1"',
    ),
    ("missing field", {"output": ABSENT}, "spec.output: Required value"),
    ("no output folder", {"output": {}}, "spec.output.uri: Required value"),
    ("quoted number", {"training.optimizer.lr": "3e-4"}, "spec.training.optimizer.lr"),
    ("too many epochs", {"training.epochs": 100001}, "spec.training.epochs"),
    ("learning rate at the open bound", {"training.optimizer.lr": 0}, "spec.training.optimizer.lr"),
    ("unknown task", {"task": "classification"}, 'spec.task: Unsupported value: "classification"'),
    ("unknown scheme", {"model.uri": "ftp://x"}, "spec.model.uri"),
    ("too long a name", {"evaluation.metrics": ["m" * 254]}, "spec.evaluation.metrics[0]"),
    ("too many phases", {"freezing.phases": [phase(f"p{i}") for i in range(33)]}, "spec.freezing.phases"),
    ("no phases", {"freezing.phases": []}, "spec.freezing.phases"),
    ("path that is not searched", {"search.parameters": [parameter("output.uri")]}, "spec.search.parameters[0].path"),
    ("path with a gap", {"search.parameters": [parameter("training..lr")]}, "spec.search.parameters[0].path"),
    (
        "parameter without a path",
        {"search.parameters": [{"choice": {"values": [1]}, "int": {"min": 1, "max": 2}}]},
        "path",
    ),
    ("mapping as a value", {"search.parameters": [parameter(choice={"values": [{"a": 1}]})]}, "choice.values[0]"),
    ("empty mapping as a value", {"search.parameters": [parameter(choice={"values": [{}]})]}, "choice.values[0]"),
    ("list as a value", {"search.parameters": [parameter(choice={"values": [[1]]})]}, "choice.values[0]"),
    ("empty list as a value", {"search.parameters": [parameter(choice={"values": [[]]})]}, "choice.values[0]"),
    ("step of two keys", {"data.clean": [{"a": {}, "b": {}}]}, "spec.data.clean[0]"),
    ("step of no key", {"data.clean": [{}]}, "spec.data.clean[0]"),
    ("step of an empty value", {"data.clean": [{"a": None}]}, "spec.data.clean[0]"),
    ("step that is text", {"data.clean": ["dropMissing"]}, "spec.data.clean[0]"),
    ("quantity", {"cluster.workers": {"resources": {"cpu": "x"}}}, "spec.cluster.workers.resources.cpu"),
    ("negative quantity", {"cluster.workers": {"resources": {"cpu": -1}}}, "spec.cluster.workers.resources.cpu"),
    (
        "variable twice",
        {"cluster.workers": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "spec.cluster.workers.env[1]: Duplicate value",
    ),
]


def test_the_resource_is_established(api: Api, crd: str) -> None:
    conditions = json.loads(api.kubectl("get", "crd", crd, "-o", "json").stdout)["status"]["conditions"]
    states = {condition["type"]: condition["status"] for condition in conditions}
    assert states["Established"] == "True"
    assert "NonStructuralSchema" not in states


def test_a_plain_apply_takes_the_crd(api: Api, crd: str) -> None:
    """Plain kubectl apply keeps the object in an annotation of at most 256 KiB."""
    manifest = api.kubectl("get", "crd", crd, "-o", "json").stdout
    fresh = json.loads(manifest)
    fresh["metadata"] = {"name": crd}
    done = api.kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(fresh))
    assert crd in done.stdout


@pytest.mark.parametrize("name", ["ftj", "finetunejob", "finetunejobs.v1alpha1.thaw.dev", "thaw"])
def test_the_resource_answers_to_its_names(api: Api, crd: str, name: str) -> None:
    assert api.kubectl("get", name, "--namespace=kube-node-lease").stdout == ""


def test_a_field_is_explained(api: Api, crd: str) -> None:
    seen = ""

    def unexplained() -> str | None:
        nonlocal seen
        answer = api.kubectl("explain", "finetunejob.spec.training.optimizer.lr", check=False)
        seen = answer.stdout
        return answer.stderr if answer.returncode else None

    # The schema is published a moment after the resource is served.
    wait_until("kubectl explain knows the resource", unexplained, EXPLAIN_SECONDS)
    assert "lr <number>" in seen
    assert "Peak learning rate." in seen


def test_the_minimal_job_is_admitted(api: Api, crd: str) -> None:
    assert api.dry_run(job())["kind"] == "FineTuneJob"


@pytest.mark.parametrize(("changes", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_field_is_refused_at_its_path(api: Api, crd: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(KubectlError) as refused:
        api.dry_run(job(changes))
    assert message in refused.value.stderr


@pytest.mark.parametrize("changes", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_the_apiserver_refuses_the_models_refuse(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FineTuneJobSpec.model_validate(job(changes)["spec"])


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model.uri": "file:model"}, "spec.model.uri"),
        ({"data.train": {"uri": "file:train.csv"}}, "spec.data.train.uri"),
        ({"data.validation": {"uri": "file:///v.csv"}}, "spec.data.validation.uri"),
        ({"data.test": {"uri": "file:t.csv"}}, "spec.data.test.uri"),
        ({"output.uri": "file:out"}, "spec.output.uri"),
    ],
)
def test_a_file_of_one_machine_is_refused_on_a_cluster(api: Api, crd: str, changes: dict[str, Any], path: str) -> None:
    with pytest.raises(KubectlError) as refused:
        api.dry_run(job(changes))
    assert path in refused.value.stderr
    assert FILE_REFUSED in refused.value.stderr


@pytest.mark.parametrize("name", ["a", "a-1", "a" * 40])
def test_a_name_that_a_ray_job_can_have_is_admitted(api: Api, crd: str, name: str) -> None:
    assert api.dry_run(job(name=name))["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["1st", "a" * 41, "a.b"])
def test_a_name_that_a_ray_job_could_not_have_is_refused(api: Api, crd: str, name: str) -> None:
    with pytest.raises(KubectlError, match=r"metadata\.name"):
        api.dry_run(job(name=name))


def test_every_kind_of_scalar_is_a_value_to_search(api: Api, crd: str) -> None:
    values = [1, -3, 0.5, True, "blocks[-1:]", ""]
    admitted = api.dry_run(job({"search.parameters": [parameter(choice={"values": values})]}))
    found = admitted["spec"]["search"]["parameters"][0]["choice"]["values"]
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]


def test_what_is_inside_a_step_is_kept(api: Api, crd: str) -> None:
    steps = [{"dropMissing": {}}, {"dropDuplicates": {"by": ["text"], "deep": {"a": [1, {"b": 2.5}]}}}]
    assert api.dry_run(job({"data.clean": steps}))["spec"]["data"]["clean"] == steps
