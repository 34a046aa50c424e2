"""Which attempt it is, and what its end means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thaw_api import FieldError, InvalidManifest
from thaw_api.contract import EXIT_FAILED, EXIT_INFRASTRUCTURE, EXIT_INVALID
from thaw_trainer.cluster.attempt import Attempt, ending_of_error, ending_of_result, read_document
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError
from thaw_trainer.on_cluster import attempt_number

METADATA = {"name": "sections", "namespace": "research", "uid": "u-1"}


def test_an_attempt_knows_its_job() -> None:
    assert Attempt.of({"metadata": METADATA}, 3) == Attempt("sections", "research", "u-1", 3)


@pytest.mark.parametrize("missing", METADATA)
@pytest.mark.parametrize("value", [None, "", 7])
def test_a_job_without_identity_is_refused(missing: str, value: Any) -> None:
    with pytest.raises(ValueError, match="name, namespace and uid"):
        Attempt.of({"metadata": METADATA | {missing: value}}, 1)


@pytest.mark.parametrize("document", [{}, {"metadata": None}, {"metadata": []}])
def test_a_job_without_metadata_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="name, namespace and uid"):
        Attempt.of(document, 1)


def test_a_job_file_holds_an_object(tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"metadata": METADATA}))
    assert read_document(file)["metadata"] == METADATA
    file.write_text("[]")
    with pytest.raises(ValueError, match="holds no object"):
        read_document(file)


@pytest.mark.parametrize(("text", "number"), [("2", 2), ("", 1), ("two", 1), ("-1", 1), ("²", 1)])
def test_the_operator_says_which_attempt_it_is(text: str, number: int) -> None:
    assert attempt_number(text) == number


def test_a_result_that_succeeded_is_exit_code_0() -> None:
    ending = ending_of_result({"status": "Succeeded"})
    assert (ending.exit_code, ending.failure) == (0, None)


@pytest.mark.parametrize(("cause", "code"), [("user", EXIT_FAILED), ("infrastructure", EXIT_INFRASTRUCTURE)])
def test_a_result_that_failed_says_whose_error_it_is(cause: str, code: int) -> None:
    failure = {"reason": "AllTrialsFailed", "message": "all 2 trials failed", "cause": cause}
    ending = ending_of_result({"status": "Failed", "failure": failure})
    assert (ending.exit_code, ending.failure) == (code, failure)


def test_a_manifest_that_is_no_good_names_every_field() -> None:
    errors = [FieldError("spec.training.epochs", "too many"), FieldError("spec.model.uri", "not available yet")]
    ending = ending_of_error(InvalidManifest(errors), before_training=True)
    assert ending.exit_code == EXIT_INVALID
    assert ending.failure == {
        "reason": "InvalidManifest",
        "message": "spec.training.epochs: too many; spec.model.uri: not available yet",
        "cause": "user",
    }


@pytest.mark.parametrize(
    ("error", "before_training", "code", "reason", "cause"),
    [
        (TrainerError("ColumnNotFound", "no column"), True, EXIT_INVALID, "ColumnNotFound", "user"),
        (TrainerError("TrialError", "a bug"), False, EXIT_FAILED, "TrialError", "user"),
        (
            TrainerError(OUTPUT_NOT_WRITABLE, "full", cause="infrastructure"),
            False,
            EXIT_INFRASTRUCTURE,
            OUTPUT_NOT_WRITABLE,
            "infrastructure",
        ),
        (ConnectionError("Ray is gone"), False, EXIT_INFRASTRUCTURE, "DriverError", "infrastructure"),
        (KeyError("nobody foresaw it"), False, EXIT_INFRASTRUCTURE, "DriverError", "infrastructure"),
    ],
    ids=["data", "trial", "disk", "connection", "unforeseen"],
)
def test_every_error_has_an_exit_code_a_reason_and_a_cause(
    error: Exception, before_training: bool, code: int, reason: str, cause: str
) -> None:
    ending = ending_of_error(error, before_training)
    assert ending.failure is not None
    assert (ending.exit_code, ending.failure["reason"], ending.failure["cause"]) == (code, reason, cause)
