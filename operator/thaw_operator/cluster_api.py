"""The one place where the operator talks to the apiserver.

It uses the dynamic client of `kubernetes.aio` without its discovery, which caches on disk what a cluster knows: the few
kinds that a job consists of are fixed, and KubeRay may be installed at any time.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.aio.client import ApiClient
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import ConflictError, DynamicApiError, NotFoundError

from thaw_api.contract import OPERATOR_MANAGER
from thaw_api.job import API_VERSION, KIND, PLURAL
from thaw_api.status import FineTuneJobStatus
from thaw_operator.observed import Child, Job, Key, Reference

REQUEST_SECONDS = 20.0

_PATHS = {
    KIND: (f"/apis/{API_VERSION}", PLURAL),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Event": ("/api/v1", "events"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "RayJob": ("/apis/ray.io/v1", "rayjobs"),
}
_KUEUE, _WORKLOAD = "/apis/kueue.x-k8s.io", "Workload"
_OF_JOB = "kueue.x-k8s.io/job-uid"
"""Kueue's label on a Workload: the uid of what it admits."""
_RAY = "/apis/ray.io/v1"
_RAY_KINDS = {"rayjobs", "rayclusters"}


class Changed(Exception):
    """What a decision was made from is no longer so: look again."""


class Refused(Exception):
    """The apiserver refuses a request; the message is its own."""


@dataclass(frozen=True)
class ClusterApi:
    """Requests by kind and name. `count` is told of every one: its verb, its kind and the status of its answer."""

    client: ApiClient
    count: Callable[[str, str, int], None]

    async def get(self, key: Key, reference: Reference) -> dict[str, Any] | None:
        """An object of the job's namespace; None when it does not exist."""
        try:
            return await self._request("get", reference.kind, self._path(key.namespace, *reference))
        except NotFoundError:
            return None

    async def knows_ray_jobs(self) -> bool:
        """Whether KubeRay's kinds are served."""
        try:
            served = await self._request("get", "RayJob", _RAY)
        except NotFoundError:
            return False
        return {one["name"] for one in served.get("resources") or ()} >= _RAY_KINDS

    async def workloads(self, key: Key, uid: str) -> list[dict[str, Any]]:
        """Kueue's Workloads of the object with a uid, in the version that Kueue prefers; none without Kueue."""
        try:
            group = await self._request("get", _WORKLOAD, _KUEUE)
            version = group["preferredVersion"]["groupVersion"]
            path = f"/apis/{version}/namespaces/{key.namespace}/workloads"
            found = await self._request("get", _WORKLOAD, path, label_selector=f"{_OF_JOB}={uid}")
        except NotFoundError:
            return []
        return list(found["items"])

    async def create(self, manifest: dict[str, Any]) -> None:
        """Creates a child; raises Changed when its name is held meanwhile, or its kind or namespace is gone."""
        kind, namespace = manifest["kind"], manifest["metadata"]["namespace"]
        try:
            await self._request("post", kind, self._path(namespace, kind), manifest)
        except (ConflictError, NotFoundError) as error:
            raise Changed(f"{kind} {manifest['metadata']['name']}: {_message(error)}") from error

    async def delete(self, key: Key, child: Child) -> None:
        """Deletes this very child, and what it owns after it; another one of its name is left alone."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": child.uid}}
        try:
            await self._request("delete", child.reference.kind, self._path(key.namespace, *child.reference), options)
        except NotFoundError:
            return
        except ConflictError as error:
            raise Changed(_message(error)) from error

    async def apply_status(self, job: Job, status: FineTuneJobStatus) -> None:
        """Replaces the operator's part of the status; raises Changed when the job is not the one that was observed.

        The apiserver checks no uid in a status patch, but it does check the resource version.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": job.key.name, "resourceVersion": job.resource_version},
            "status": status.manifest(),
        }
        path = f"{self._path(job.key.namespace, KIND, job.key.name)}/status"
        query = {
            "content_type": "application/apply-patch+yaml",
            "field_manager": OPERATOR_MANAGER,
            "force_conflicts": "true",
        }
        try:
            await self._request("patch", KIND, path, body, **query)
        except (ConflictError, NotFoundError) as error:
            raise Changed(_message(error)) from error

    async def post_event(self, manifest: dict[str, Any]) -> None:
        """Posts an Event."""
        await self._request("post", "Event", self._path(manifest["metadata"]["namespace"], "Event"), manifest)

    @staticmethod
    def _path(namespace: str, kind: str, name: str = "") -> str:
        prefix, plural = _PATHS[kind]
        return f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")

    async def _request(
        self, verb: str, kind: str, path: str, body: dict[str, Any] | None = None, **query: Any
    ) -> dict[str, Any]:
        try:
            response = await DynamicClient(self.client).request(
                verb, path, body=body, serialize=False, _request_timeout=REQUEST_SECONDS, **query
            )
        except DynamicApiError as error:
            self.count(verb, kind, int(error.status or 0))
            if error.status in (400, 403, 422):
                raise Refused(f"{verb} {path}: {_message(error)}") from error
            raise
        self.count(verb, kind, int(response.status))
        answer: dict[str, Any] = await response.json()
        return answer


def _message(error: DynamicApiError) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
