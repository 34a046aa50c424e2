"""The admission policies on a real apiserver: what a driver may write, and what a job's author may name."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kubectl import Api
from tests.cluster.polling import wait_until
from thaw_api.contract import trainer_account
from thaw_api.status import FineTuneJobStatus

POLICIES = Path(__file__).resolve().parents[2] / "charts" / "thaw" / "generated" / "admission-policies.yaml"
SECONDS = 30.0
ROLES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: test-trainer}
rules: [{apiGroups: [thaw.dev], resources: [finetunejobs/status], verbs: [patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: test-trainers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: test-trainer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:default"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: test-author, namespace: default}
rules:
- {apiGroups: [thaw.dev], resources: [finetunejobs], verbs: [get, create, patch, update]}
- {apiGroups: [""], resources: [secrets], resourceNames: [known], verbs: [get]}
- {apiGroups: [""], resources: [persistentvolumeclaims], resourceNames: [models, corpus], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: test-author, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: test-author}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
"""


def job(name: str, **changes: Any) -> dict[str, Any]:
    """A job whose inputs and output lie on claims that alice may read."""
    spec: dict[str, Any] = {
        "task": "text-classification",
        "model": {"uri": "hf://org/model"},
        "data": {"train": {"uri": "pvc://corpus/train.csv"}, "columns": {"text": "text", "label": "label"}},
        "output": {"uri": "pvc://models/out"},
    }
    return {
        "apiVersion": "thaw.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec | changes,
    }


def with_secrets(*names: str) -> dict[str, Any]:
    env = [{"name": f"V{index}", "secretKeyRef": {"name": name, "key": "k"}} for index, name in enumerate(names)]
    return {"cluster": {"workers": {"env": env}}}


@pytest.fixture(scope="module")
def policed(api: Api, crd: str) -> Iterator[Api]:
    """The apiserver with both policies in force."""
    api.kubectl("apply", "--server-side", "-f", "-", input=ROLES)
    api.kubectl("apply", "--server-side", "-f", str(POLICIES))

    def not_yet() -> str | None:
        foreign = json.dumps(job("probe", output={"uri": "pvc://foreign/out"}))
        answer = api.kubectl("create", "--dry-run=server", "--as=alice", "-f", "-", input=foreign, check=False)
        return None if "you may not read" in answer.stderr else answer.stderr or "admitted"

    # A policy takes effect a moment after it was written.
    wait_until("the policies are in force", not_yet, SECONDS)
    yield api
    # Other tests of the tier act as nobody in particular.
    api.kubectl("delete", "-f", str(POLICIES))
    api.kubectl("delete", "-f", "-", input=ROLES)


@pytest.fixture
def jobs(policed: Api) -> Iterator[dict[str, dict[str, Any]]]:
    """Two jobs as the apiserver has them, by name; gone afterwards."""
    names = ["mine", "other"]
    text = "---\n".join(yaml.safe_dump(job(name)) for name in names)
    policed.kubectl("create", "-f", "-", input=text)
    yield {name: json.loads(policed.kubectl("get", "ftj", name, "-o", "json").stdout) for name in names}
    policed.kubectl("delete", "ftj", *names)


def report(api: Api, account: str, job_name: str, status: dict[str, Any]) -> str:
    """What the apiserver says of a status that an account applies; nothing when it takes it."""
    document = {
        "apiVersion": "thaw.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": job_name, "namespace": "default"},
        "status": status,
    }
    answer = api.kubectl(
        "apply",
        "--server-side",
        "--subresource=status",
        "--field-manager=thaw-trainer",
        f"--as=system:serviceaccount:default:{account}",
        "--as-group=system:serviceaccounts:default",
        *("-f", "-"),
        input=json.dumps(document),
        check=False,
    )
    return answer.stderr if answer.returncode else ""


def about(found: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {"training": {"jobUID": found["metadata"]["uid"]} | training}


def test_a_driver_reports_to_its_own_job(policed: Api, jobs: dict[str, dict[str, Any]]) -> None:
    said = report(policed, trainer_account("mine"), "mine", about(jobs["mine"], progressPercentage=40))
    assert said == ""
    shown = json.loads(policed.kubectl("get", "ftj", "mine", "-o", "json").stdout)
    assert shown["status"]["training"]["progressPercentage"] == 40


def test_a_driver_cannot_report_to_another_job(policed: Api, jobs: dict[str, dict[str, Any]]) -> None:
    said = report(policed, trainer_account("mine"), "other", about(jobs["other"]))
    assert "a driver may report to its own job only" in said


def test_a_report_about_an_older_job_of_the_name_is_refused(policed: Api, jobs: dict[str, dict[str, Any]]) -> None:
    said = report(policed, trainer_account("mine"), "mine", {"training": {"jobUID": jobs["other"]["metadata"]["uid"]}})
    assert "must be the uid of this job" in said


def test_a_report_that_names_no_job_is_refused(policed: Api, jobs: dict[str, dict[str, Any]]) -> None:
    said = report(policed, trainer_account("mine"), "mine", {"training": {"progressPercentage": 1}})
    assert "must be the uid of this job" in said


VALUES: dict[str, Any] = {
    "observedGeneration": 7,
    "phase": "Succeeded",
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:00:00Z",
    "activeSeconds": 7,
    "activeSince": "2026-01-01T00:00:00Z",
    "rayJobName": "mine-7",
    "restarts": {"infrastructure": 7},
    "conditions": [
        {
            "type": "Complete",
            "status": "True",
            "reason": "Forged",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
    "failure": {"reason": "Forged", "message": "forged"},
    "message": "forged",
    "queue": "forged",
}


def test_each_field_of_the_operator_is_tried() -> None:
    fields = {field.alias or name for name, field in FineTuneJobStatus.model_fields.items()}
    assert set(VALUES) == fields - {"training"}


@pytest.mark.parametrize("field", VALUES)
def test_a_driver_cannot_write_a_field_of_the_operator(
    field: str, policed: Api, jobs: dict[str, dict[str, Any]]
) -> None:
    said = report(policed, trainer_account("mine"), "mine", about(jobs["mine"]) | {field: VALUES[field]})
    assert f"status.{field} would change" in said


def test_an_operators_field_that_stays_as_it_is_hinders_no_report(
    policed: Api, jobs: dict[str, dict[str, Any]]
) -> None:
    status = json.dumps({"status": {"phase": "Running", "conditions": VALUES["conditions"]}})
    policed.kubectl("patch", "ftj", "mine", "--subresource=status", "--type=merge", "-p", status)
    assert report(policed, trainer_account("mine"), "mine", about(jobs["mine"], progressPercentage=2)) == ""


def as_alice(api: Api, document: dict[str, Any]) -> str:
    answer = api.kubectl("create", "--dry-run=server", "--as=alice", "-f", "-", input=json.dumps(document), check=False)
    return answer.stderr if answer.returncode else ""


ADMITTED = [
    ("claims and a Secret that she may read", with_secrets("known")),
    ("many mentions of them", with_secrets(*["known"] * 16)),
    ("no claim and no Secret", {"output": {"uri": "s3://bucket/out"}}),
]


@pytest.mark.parametrize("changes", [row[1] for row in ADMITTED], ids=[row[0] for row in ADMITTED])
def test_a_job_is_admitted_that_names_what_its_author_may_read(changes: dict[str, Any], policed: Api) -> None:
    assert as_alice(policed, job("tried", **changes)) == ""


REFUSED = [
    ("secret", with_secrets("known", "foreign"), "you may not read the Secret foreign"),
    ("output", {"output": {"uri": "pvc://foreign/out"}}, "you may not read the PersistentVolumeClaim foreign"),
    ("model", {"model": {"uri": "pvc://foreign"}}, "you may not read the PersistentVolumeClaim foreign"),
    (
        "data",
        {
            "data": {
                "train": {"uri": "pvc://corpus/train.csv"},
                "validation": {"uri": "pvc://foreign/v.csv"},
                "columns": {"text": "text", "label": "label"},
            }
        },
        "you may not read the PersistentVolumeClaim foreign",
    ),
    (
        "a model that is searched",
        {
            "search": {
                "trials": 2,
                "parameters": [{"path": "model.uri", "choice": {"values": ["hf://a/b", "pvc://foreign/m"]}}],
            }
        },
        "you may not read the PersistentVolumeClaim foreign",
    ),
    ("too many", with_secrets(*["known"] * 17), "at most 16 Secrets"),
]


@pytest.mark.parametrize(("changes", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_job_is_refused_that_names_what_its_author_may_not_read(
    changes: dict[str, Any], message: str, policed: Api
) -> None:
    assert message in as_alice(policed, job("tried", **changes))


def test_who_changes_a_job_needs_the_rights_too(policed: Api) -> None:
    policed.kubectl("create", "-f", "-", input=json.dumps(job("foreign", suspend=True, **with_secrets("foreign"))))
    try:
        change = json.dumps({"spec": {"cluster": {"image": "mine"}}})
        answer = policed.kubectl("patch", "ftj", "foreign", "--type=merge", "-p", change, "--as=alice", check=False)
        assert "you may not read the Secret foreign" in answer.stderr
        label = json.dumps({"metadata": {"labels": {"team": "nlp"}}})
        policed.kubectl("patch", "ftj", "foreign", "--type=merge", "-p", label, "--as=alice")
    finally:
        policed.kubectl("delete", "ftj", "foreign")
