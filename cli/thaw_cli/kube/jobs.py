"""FineTuneJobs of one namespace, or of all, through the official client."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError

from thaw_api.contract import JOB_LABEL
from thaw_api.job import GROUP, KIND, PLURAL, VERSION

Body = dict[str, Any]
REQUEST_SECONDS = 30
_UNKNOWN_KIND = "404 Not Found"
_WATCH_SECONDS = 300
"""How long one watch lasts before it is opened anew."""
_AGAIN_SECONDS = 1.0
"""How long to wait after a watch has broken off."""
_TOO_OLD = 410
"""The apiserver does not remember the version that a watch goes on from."""


class ClusterError(Exception):
    """A command cannot be done: the message says why, for people."""


class NoSuchJob(ClusterError):
    """There is no job of that name."""


class Unreachable(ClusterError):
    """There is no connection, or it broke off."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of a namespace."""

    custom: client.CustomObjectsApi
    core: client.CoreV1Api
    namespace: str

    @classmethod
    def connect(cls, namespace: str | None, context: str | None) -> "Jobs":
        """Connects as kubectl does: KUBECONFIG or ~/.kube/config, or the pod's own account.

        Args:
            namespace: None: the context's own.
            context: a context of the kubeconfig; None: the current one.
        """
        try:
            config.load_kube_config(context=context)
            _, current = config.list_kube_config_contexts()
            chosen = current if context is None else _context(context)
            own = (chosen.get("context") or {}).get("namespace") or "default"
        except config.ConfigException as error:
            if context is not None or "KUBERNETES_SERVICE_HOST" not in os.environ:
                raise ClusterError(f"no cluster is configured: {error}") from None
            config.load_incluster_config()
            own = "default"
        return cls(client.CustomObjectsApi(), client.CoreV1Api(), namespace or own)

    def create(self, manifest: Body, *, dry_run: bool = False) -> Body:
        """Creates a job; a field that the cluster does not know is an error."""
        more = {"dry_run": "All"} if dry_run else {}
        with _plain_errors(f"{KIND} {manifest['metadata']['name']}"):
            made = self.custom.create_namespaced_custom_object(
                *self._place, manifest, field_validation="Strict", _request_timeout=REQUEST_SECONDS, **more
            )
        return cast(Body, made)

    def get(self, name: str) -> Body:
        """A job as it is now."""
        with self._about(name):
            found = self.custom.get_namespaced_custom_object(*self._place, name, _request_timeout=REQUEST_SECONDS)
        return cast(Body, found)

    def list(self, *, everywhere: bool = False) -> list[Body]:
        """All jobs of the namespace, or of all namespaces, oldest first."""
        with _plain_errors("FineTuneJobs"):
            if everywhere:
                found = self.custom.list_cluster_custom_object(GROUP, VERSION, PLURAL, _request_timeout=REQUEST_SECONDS)
            else:
                found = self.custom.list_namespaced_custom_object(*self._place, _request_timeout=REQUEST_SECONDS)
        items: list[Body] = cast(Body, found)["items"]
        return sorted(items, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def suspend(self, name: str, wanted: bool) -> Body:
        """Sets `spec.suspend`."""
        with self._about(name):
            patched = self.custom.patch_namespaced_custom_object(
                *self._place,
                name,
                {"spec": {"suspend": wanted}},
                _content_type="application/merge-patch+json",
                _request_timeout=REQUEST_SECONDS,
            )
        return cast(Body, patched)

    def delete(self, name: str) -> None:
        """Deletes a job; its cluster goes with it."""
        with self._about(name):
            self.custom.delete_namespaced_custom_object(*self._place, name, _request_timeout=REQUEST_SECONDS)

    def follow(self, name: str) -> Iterator[Body]:
        """The job as it is, and again whenever it changes, until the caller stops or it is deleted (NoSuchJob).

        A watch that breaks off is opened anew: only where the job cannot be read either, the cluster cannot be reached.
        """
        while True:
            job = self.get(name)
            yield job
            try:
                with self._about(name):
                    yield from self._changes(name, job["metadata"]["resourceVersion"])
            except Unreachable:  # a gateway has closed what was idle for long, say
                time.sleep(_AGAIN_SECONDS)

    def _changes(self, name: str, version: str) -> Iterator[Body]:
        """What one watch tells from a version on, for as long as it lasts."""
        try:
            for event in watch.Watch().stream(
                self.custom.list_namespaced_custom_object,
                *self._place,
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=_WATCH_SECONDS,
            ):
                if event["type"] == "DELETED":
                    raise NoSuchJob(f"{KIND} {name} was deleted")
                yield event["object"]
        except ApiException as error:
            if error.status != _TOO_OLD:
                raise

    def head(self, name: str) -> str | None:
        """The name of the pod in which the job's driver runs; None when there is none now."""
        selector = f"{JOB_LABEL}={name},ray.io/node-type=head"
        with _plain_errors(f"pods of {name}"):
            pods = self.core.list_namespaced_pod(
                self.namespace, label_selector=selector, _request_timeout=REQUEST_SECONDS
            ).items
        names = [pod.metadata.name for pod in pods if pod.status.phase == "Running"]
        return names[-1] if names else None

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _about(self, name: str) -> Any:
        return _plain_errors(f"{KIND} {name} in namespace {self.namespace}")


@contextmanager
def _plain_errors(subject: str) -> Iterator[None]:
    """Errors of the client as one line that says what they are about."""
    try:
        yield
    except ApiException as error:
        message = _message(error)
        if error.status == 404 and message == _UNKNOWN_KIND:  # a plain page, and no Status object
            raise ClusterError("the cluster knows no FineTuneJobs: install thaw's chart, or its CRD") from None
        raise (NoSuchJob if error.status == 404 else ClusterError)(f"{subject}: {message}") from None
    except (MaxRetryError, HTTPError, OSError) as error:
        raise Unreachable(f"the cluster cannot be reached: {error}") from None


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def _context(name: str) -> Body:
    contexts, _ = config.list_kube_config_contexts()
    return next((one for one in contexts if one["name"] == name), {})
