"""Writing `status.training` to Kubernetes by server-side apply, as the pod's ServiceAccount."""

from collections.abc import Callable
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from thaw_api.contract import TRAINER_MANAGER
from thaw_api.job import API_VERSION, GROUP, KIND, PLURAL, VERSION
from thaw_trainer.cluster.answers import outcome_of
from thaw_trainer.cluster.attempt import Attempt
from thaw_trainer.cluster.pacing import Answer, Outcome, Report

_SECONDS = (5.0, 10.0)
"""To connect, and for the answer."""


def open_sender(attempt: Attempt) -> Callable[[Report], Outcome]:
    """What writes the status as the pod's ServiceAccount; outside of a pod, what says that nobody reads it."""
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        nobody = Outcome(Answer.GONE, f"this is no pod of a cluster: {error}")
        return lambda report: nobody
    settings.retries = False  # the reporter's own
    return StatusPatch(client.ApiClient(settings), attempt)


class StatusPatch:
    """Applies one job's `status.training`."""

    def __init__(self, api: client.ApiClient, attempt: Attempt) -> None:
        self._objects, self._attempt = client.CustomObjectsApi(api), attempt

    def __call__(self, training: Report) -> Outcome:
        """Writes the whole object: what it leaves out is removed."""
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self._attempt.name, "namespace": self._attempt.namespace},
            "status": {"training": training},
        }
        try:
            self._objects.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                self._attempt.namespace,
                PLURAL,
                self._attempt.name,
                body,
                field_manager=TRAINER_MANAGER,
                force=True,
                _content_type="application/apply-patch+yaml",
                _request_timeout=_SECONDS,
            )
        except client.ApiException as error:
            return outcome_of(error.status or 0, f"{error.reason}: {error.body}", dict(error.headers or {}))
        except (HTTPError, OSError, config.ConfigException) as error:  # the last: the token's file is not there
            return Outcome(Answer.RETRY, f"{type(error).__name__}: {error}")
        return Outcome(Answer.DELIVERED)
