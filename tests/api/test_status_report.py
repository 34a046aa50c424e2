"""A real apiserver takes the trainer's reports: as an account that may do nothing else, beside the operator's."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client

from tests.cluster.kubectl import Api
from tests.manifests import job
from tests.unit.reporting.runs import record, run_started
from thaw_api.contract import OPERATOR_MANAGER, TRAINER_MANAGER, trainer_account
from thaw_trainer.cluster.attempt import Attempt, Ending
from thaw_trainer.cluster.pacing import Answer
from thaw_trainer.cluster.status_patch import StatusPatch
from thaw_trainer.cluster.training_status import Reported, training_status
from thaw_trainer.reporting.board import Board
from thaw_trainer.search.journal import TrialRecord

NAMESPACE = "status-reports"
STAMP = "2026-11-24T12:00:00Z"
FAILURE = {"reason": "WorkerLost", "message": "its workers died", "cause": "infrastructure"}


@pytest.fixture(scope="module")
def namespace(api: Api, crd: str) -> Iterator[str]:
    api.kubectl("create", "namespace", NAMESPACE)
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reporter", "namespace": NAMESPACE},
        "rules": [{"apiGroups": ["thaw.dev"], "resources": ["finetunejobs/status"], "verbs": ["patch"]}],
    }
    api.kubectl("apply", "-f", "-", input=json.dumps(role))
    yield NAMESPACE
    api.kubectl("delete", "finetunejobs", "--all", "-n", NAMESPACE)
    api.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


class Job:
    """A job in the API, and its driver's account, which may patch the status of jobs and nothing else."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self.api, self.namespace, self.name = api, namespace, name
        manifest = job(name=name)
        manifest["metadata"]["namespace"] = namespace
        api.kubectl("create", "-f", "-", input=json.dumps(manifest))
        account = trainer_account(name)
        api.kubectl("create", "serviceaccount", account, "-n", namespace)
        subject = f"--serviceaccount={namespace}:{account}"
        api.kubectl("create", "rolebinding", account, "--role=reporter", subject, "-n", namespace)
        self.attempt = Attempt(name, namespace, self.stored()["metadata"]["uid"], 1)
        self.patch = StatusPatch(client_of(api, self.token()), self.attempt)

    def token(self) -> str:
        account = trainer_account(self.name)
        return self.api.kubectl("create", "token", account, "-n", self.namespace).stdout.strip()

    def stored(self) -> dict[str, Any]:
        answer = self.api.kubectl(
            "get", "finetunejob", self.name, "-n", self.namespace, "-o", "json", "--show-managed-fields"
        )
        stored: dict[str, Any] = json.loads(answer.stdout)
        return stored

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.stored().get("status", {})
        return status

    def report(self, *records: TrialRecord, ending: Ending | None = None) -> dict[str, Any]:
        """Reports a run with these trials; returns what was sent."""
        board = Board(lambda: 0.0)
        board.tell(run_started(*records))
        reported = Reported(self.attempt, "pvc://models/out")
        sent = training_status(reported, board, ending=ending).manifest() | {"lastUpdatedTime": STAMP}
        outcome = self.patch(sent)
        assert outcome.answer is Answer.DELIVERED, outcome
        return sent

    def operator_applies(self, **status: Any) -> None:
        """What the operator writes, by server-side apply under its own field manager."""
        body = {
            "apiVersion": "thaw.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "status": status,
        }
        flags = ["--server-side", "--subresource=status", f"--field-manager={OPERATOR_MANAGER}"]
        self.api.kubectl("apply", *flags, "-f", "-", input=json.dumps(body))

    def owned_by(self, manager: str) -> set[str]:
        """The fields of the status that a manager owns."""
        return {
            field.removeprefix("f:")
            for entry in self.stored()["metadata"]["managedFields"]
            if entry["manager"] == manager and entry.get("subresource") == "status"
            for field in entry["fieldsV1"]["f:status"]
        }


@pytest.fixture
def reported(api: Api, namespace: str, request: pytest.FixtureRequest) -> Job:
    """A job of this test's own."""
    number = request.node.session.items.index(request.node)
    return Job(api, namespace, f"job-{number}")


def client_of(api: Api, token: str) -> client.ApiClient:
    """A client that has a token and nothing else."""
    cluster = yaml.safe_load(api.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    settings = client.Configuration()
    settings.host = cluster["server"]
    authority = api.folder / "authority.pem"
    authority.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    settings.ssl_ca_cert = str(authority)
    settings.api_key["BearerToken"] = f"Bearer {token}"
    settings.retries = False
    settings.proxy = None
    return client.ApiClient(settings)


def test_a_report_arrives_whole(reported: Job) -> None:
    sent = reported.report(record(0, 0.5, 0.9, state="succeeded"), record(1, 0.3))
    assert reported.status() == {"training": sent}
    assert reported.owned_by(TRAINER_MANAGER) == {"training"}


def test_what_a_report_leaves_out_is_removed(reported: Job) -> None:
    reported.report(record(0, 0.5), record(1, 0.3), ending=Ending(75, failure=FAILURE))
    assert reported.status()["training"]["failure"]["attempt"] == 1
    sent = reported.report(record(1, 0.3))
    training = reported.status()["training"]
    assert training == sent
    assert "failure" not in training
    assert [row["name"] for row in training["trialTable"]] == ["trial-0001"]


def test_operator_and_trainer_do_not_disturb_each_other(reported: Job) -> None:
    reported.operator_applies(phase="Running", message="trains", rayJobName="sections-1")
    sent = reported.report(record(0, 0.5))
    reported.operator_applies(phase="Succeeded")
    assert reported.status() == {"phase": "Succeeded", "training": sent}
    sent = reported.report(record(0, 0.5, 0.6))
    assert reported.status() == {"phase": "Succeeded", "training": sent}
    assert reported.owned_by(OPERATOR_MANAGER) == {"phase"}


def test_strange_names_and_numbers_arrive(reported: Job) -> None:
    strange = record(0, float("nan"), parameters={"a\x00b\ud800" + "ü" * 300: "line\nline" * 100})
    strange.reports[0]["metrics"] |= {"näme\x1b": float("inf"), "n" * 300: float("-inf"), "n" * 301: 1e-300}
    sent = reported.report(strange, ending=Ending(1, failure=FAILURE | {"message": "\x00" + "ü" * 9000}))
    assert reported.status()["training"] == sent
    assert sent["bestTrial"]["metric"]["value"] == "nan"


def test_the_largest_report_is_taken(reported: Job) -> None:
    records = [record(ordinal, 0.5, parameters={}) for ordinal in range(200)]
    for each in records:
        each.parameters = {f"{number}{'ü' * 300}": "ü" * 1000 for number in range(40)}
        each.reports[0]["metrics"] |= {f"{number}{'ü' * 300}": 1.0 for number in range(40)}
    sent = reported.report(*records)
    assert reported.status()["training"] == sent
    assert len(json.dumps(reported.stored(), ensure_ascii=False).encode()) < 256 * 1024


def test_a_report_of_a_job_that_is_gone_ends_the_reports(reported: Job) -> None:
    reported.api.kubectl("delete", "finetunejob", reported.name, "-n", reported.namespace)
    outcome = reported.patch({"progressPercentage": 1})
    assert outcome.answer is Answer.GONE


def test_what_the_schema_refuses_is_dropped_with_the_servers_reason(reported: Job) -> None:
    outcome = reported.patch({"progressPercentage": 101})
    assert outcome.answer is Answer.DROPPED
    assert "progressPercentage" in outcome.message


def test_the_account_may_do_nothing_else(reported: Job) -> None:
    api = client_of(reported.api, reported.token())
    objects = client.CustomObjectsApi(api)
    with pytest.raises(client.ApiException) as refused:
        objects.get_namespaced_custom_object("thaw.dev", "v1alpha1", reported.namespace, "finetunejobs", reported.name)
    assert refused.value.status == 403


def test_an_account_without_the_right_is_dropped(reported: Job) -> None:
    reported.api.kubectl("delete", "rolebinding", trainer_account(reported.name), "-n", reported.namespace)
    outcome = reported.patch({"progressPercentage": 1})
    assert outcome.answer is Answer.DROPPED
    assert "HTTP 403" in outcome.message


def test_a_server_that_cannot_be_reached_is_tried_again(reported: Job) -> None:
    settings = client.Configuration()
    settings.host = "https://127.0.0.1:1"
    settings.retries = False
    outcome = StatusPatch(client.ApiClient(settings), reported.attempt)({"progressPercentage": 1})
    assert outcome.answer is Answer.RETRY
