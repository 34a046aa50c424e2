"""Which attempt at which job this process is, and how it ended."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thaw_api.contract import EXIT_FAILED, EXIT_INFRASTRUCTURE, EXIT_INVALID
from thaw_api.field_error import InvalidManifest
from thaw_trainer.errors import DRIVER_ERROR, TrainerError


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job, in Kubernetes' terms."""

    name: str
    namespace: str
    uid: str
    number: int
    """From 1."""

    @classmethod
    def of(cls, document: dict[str, Any], number: int) -> "Attempt":
        """The attempt at the job that a document describes; raises InvalidManifest when it has no identity."""
        metadata = document.get("metadata")
        values = [metadata.get(key) if isinstance(metadata, dict) else None for key in ("name", "namespace", "uid")]
        name, namespace, uid = (value if isinstance(value, str) else "" for value in values)
        if not (name and namespace and uid):
            raise ValueError(f"the job file's metadata needs name, namespace and uid; it has {metadata!r}")
        return cls(name, namespace, uid, number)


def read_document(file: Path) -> dict[str, Any]:
    """The FineTuneJob in a file; raises OSError or ValueError."""
    document = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{file} holds no object")
    return document


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    exit_code: int
    result: dict[str, Any] | None = None
    """What result.json says, of a job that has one."""
    failure: dict[str, Any] | None = None
    """reason, message and cause, of a job that failed."""


def ending_of_result(result: dict[str, Any]) -> Ending:
    """A run that came to its end."""
    failure = result.get("failure")
    if failure is None:
        return Ending(0, result)
    return Ending(EXIT_INFRASTRUCTURE if failure["cause"] == "infrastructure" else EXIT_FAILED, result, failure)


def ending_of_error(error: Exception, before_training: bool = False) -> Ending:
    """A run that was cut short.

    What is neither the manifest's nor a trial's fault may go well in another attempt: a node that is gone, a network,
    a file system; also what nobody has thought of.

    Args:
        before_training: the error is about manifest, model or data.
    """
    if isinstance(error, InvalidManifest):
        message = "; ".join(str(each) for each in error.errors)
        return Ending(EXIT_INVALID, failure={"reason": error.reason, "message": message, "cause": "user"})
    if not isinstance(error, TrainerError):
        error = TrainerError(DRIVER_ERROR, f"{type(error).__name__}: {error}", cause="infrastructure")
    failure = error.as_dict()
    if error.cause == "infrastructure":
        return Ending(EXIT_INFRASTRUCTURE, failure=failure)
    return Ending(EXIT_INVALID if before_training else EXIT_FAILED, failure=failure)
