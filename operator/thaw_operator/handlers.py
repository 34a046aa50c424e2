"""kopf's part: it watches, keeps the indices, and each event puts the key of its job into the queue. No handler does
any work, and none changes an object: no finalizer, no annotation."""

import json
from collections.abc import Callable
from typing import Any

import kopf

from thaw_api.contract import JOB_LABEL
from thaw_api.job import GROUP, PLURAL, VERSION
from thaw_operator.observe import Indices
from thaw_operator.observed import Key
from thaw_operator.views import Body, child_view, pod_view, ray_cluster_view, ray_job_view
from thaw_operator.work_queue import WorkQueue

_JOBS = (GROUP, VERSION, PLURAL)
_CHILDREN: dict[str, tuple[tuple[str, ...], Callable[[Body], Any]]] = {
    "service_accounts": (("", "v1", "serviceaccounts"), lambda body: child_view(body, "ServiceAccount")),
    "config_maps": (("", "v1", "configmaps"), lambda body: child_view(body, "ConfigMap")),
    "role_bindings": (
        ("rbac.authorization.k8s.io", "v1", "rolebindings"),
        lambda body: child_view(body, "RoleBinding"),
    ),
    "ray_jobs": (("ray.io", "v1", "rayjobs"), ray_job_view),
    "ray_clusters": (("ray.io", "v1", "rayclusters"), ray_cluster_view),
    "pods": (("", "v1", "pods"), pod_view),
}
_STUCK_AFTER = 4.0
"""How many times the limit of one reconcile until the operator counts as stuck."""


class Handlers:
    """Registers the handlers; the indices are there once kopf has started."""

    def __init__(self, queue: WorkQueue, reconcile_seconds: float) -> None:
        self.registry = kopf.OperatorRegistry()
        self.indices: Indices | None = None
        self._queue, self._stuck_after = queue, reconcile_seconds * _STUCK_AFTER
        self._seen: dict[Key, str] = {}
        for name, (resource, view) in _CHILDREN.items():
            kopf.index(*resource, id=name, registry=self.registry)(_indexed(view))
            kopf.on.event(*resource, id=f"{name}_changed", registry=self.registry)(self._child_changed)
        kopf.on.event(*_JOBS, id="job_changed", registry=self.registry)(self._job_changed)
        kopf.on.login(id="login", registry=self.registry)(_login)
        kopf.on.startup(id="settings", registry=self.registry)(self._start)
        kopf.on.probe(id="reconciles", errors=kopf.ErrorsMode.PERMANENT, registry=self.registry)(self._probe)

    async def _start(self, settings: kopf.OperatorSettings, **found: Any) -> None:
        self._seen.clear()
        settings.posting.enabled = False
        settings.peering.standalone = True
        for resource, _ in _CHILDREN.values():
            group, version, plural = resource
            settings.watching.label_selectors[group, version, plural] = JOB_LABEL
        self.indices = Indices(
            children=(found["service_accounts"], found["role_bindings"], found["config_maps"]),
            ray_jobs=found["ray_jobs"],
            ray_clusters=found["ray_clusters"],
            pods=found["pods"],
        )

    async def _child_changed(self, body: kopf.Body, **_: Any) -> None:
        self._queue.add(_key_of_child(body))

    async def _job_changed(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        if type == "DELETED":
            self._seen.pop(key, None)
        elif self._seen.get(key) == (matter := what_matters(body)):
            return  # a report of progress, which asks nothing of the operator
        else:
            self._seen[key] = matter
        self._queue.add(key)

    async def _probe(self, **_: Any) -> str:
        stuck = self._queue.stuck_seconds()
        if stuck > self._stuck_after:
            raise RuntimeError(f"a reconcile has been due or going on for {stuck:.0f} s")
        return "moving"


def what_matters(body: Body) -> str:
    """All of a job that a decision depends on: everything but its revision and the trainer's progress."""
    metadata, status = body["metadata"], dict(body.get("status") or {})
    training = status.pop("training", None) or {}
    kept = {name: metadata.get(name) for name in ("uid", "generation", "labels", "deletionTimestamp")}
    said = {name: training.get(name) for name in ("jobUID", "failure", "result")}
    return json.dumps([kept, status, said], sort_keys=True, default=str)


def _indexed(view: Callable[[Body], Any]) -> Callable[..., Any]:
    async def index(body: kopf.Body, **_: Any) -> dict[Key, Any]:
        return {_key_of_child(body): view(body)}

    return index


def _login(**found: Any) -> kopf.ConnectionInfo | None:
    """The pod's ServiceAccount, or a developer's KUBECONFIG; neither needs a client library."""
    return kopf.login_with_service_account(**found) or kopf.login_with_kubeconfig(**found)


def _key_of_child(body: Body) -> Key:
    metadata = body["metadata"]
    return Key(metadata["namespace"], metadata["labels"][JOB_LABEL])
