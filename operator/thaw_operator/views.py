"""From Kubernetes' objects, as the API sends them, to what `decide` sees of them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from thaw_api import InvalidManifest, contract
from thaw_api.manifest import read_job
from thaw_api.status import FineTuneJobStatus
from thaw_operator import reasons
from thaw_operator.children.ownership import PREEMPTED_BEFORE
from thaw_operator.moments import parse_moment
from thaw_operator.observed import Child, Claim, Job, Key, Pod, Problem, RayCluster, RayJob, Reference
from thaw_operator.text import clean, one_line

Body = Mapping[str, Any]
_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_PREEMPTED = "Preempted"
_CONFIG_REASONS = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


def job_view(body: Body) -> Job:
    """The FineTuneJob. Its spec is None when it cannot be run; a report about another job of its name is dropped."""
    metadata = body["metadata"]
    status = FineTuneJobStatus.model_validate_json(json.dumps(body.get("status") or {}))
    if status.training is not None and status.training.job_uid != metadata["uid"]:
        status = status.model_copy(update={"training": None})
    manifest = {name: body[name] for name in ("apiVersion", "kind", "spec")} | {"metadata": {"name": metadata["name"]}}
    spec, errors = None, []
    try:
        spec = read_job(manifest).spec
    except InvalidManifest as error:
        errors = error.errors
    return Job(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        generation=metadata["generation"],
        resource_version=metadata["resourceVersion"],
        labels=dict(metadata.get("labels") or {}),
        deleting="deletionTimestamp" in metadata,
        spec=spec,
        errors=tuple(errors),
        status=status,
    )


def child_view(body: Body, kind: str) -> Child:
    """Any object as a child, or as what holds a child's name."""
    metadata = body["metadata"]
    owner: Body = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), {})
    return Child(
        Reference(kind, metadata["name"]),
        metadata["uid"],
        owner.get("uid"),
        owner.get("kind"),
        "deletionTimestamp" in metadata,
    )


def ray_job_view(body: Body) -> RayJob:
    """A RayJob with our labels."""
    status = body.get("status") or {}
    return RayJob(
        child=child_view(body, "RayJob"),
        attempt=_attempt(body),
        suspended=bool((body.get("spec") or {}).get("suspend")),
        job_status=status.get("jobStatus") or "",
        deployment_status=status.get("jobDeploymentStatus") or "",
        reason=status.get("reason") or "",
        message=clean(status.get("message") or ""),
        preempted_before=_number((body["metadata"].get("annotations") or {}).get(PREEMPTED_BEFORE, "")),
    )


def evictions_view(body: Body) -> int:
    """How often Kueue has taken the quota of a Workload for another one; evictions for other reasons apart."""
    counted = ((body.get("status") or {}).get("schedulingStats") or {}).get("evictions") or ()
    return sum(one["count"] for one in counted if one["reason"] == _PREEMPTED)


def ray_cluster_view(body: Body) -> RayCluster:
    """A RayCluster with our labels, which KubeRay copies from the RayJob."""
    conditions = {one["type"]: one for one in (body.get("status") or {}).get("conditions") or ()}
    head = conditions.get("HeadPodReady", {})
    return RayCluster(
        name=body["metadata"]["name"],
        job_uid=_label(body, contract.JOB_UID_LABEL),
        attempt=_attempt(body),
        provisioned=conditions.get("RayClusterProvisioned", {}).get("status") == "True",
        head_ready=head.get("status") == "True",
        head_ready_since=_moment(head.get("lastTransitionTime")),
    )


def pod_view(body: Body) -> Pod:
    """A pod with our labels."""
    status = body.get("status") or {}
    return Pod(
        name=body["metadata"]["name"],
        job_uid=_label(body, contract.JOB_UID_LABEL),
        attempt=_attempt(body),
        head=_label(body, "ray.io/node-type") == "head",
        live="deletionTimestamp" not in body["metadata"] and status.get("phase") not in ("Succeeded", "Failed"),
        problem=_problem(body["metadata"]["name"], status),
    )


def claim_view(body: Body) -> Claim:
    """A PersistentVolumeClaim."""
    metadata, modes = body["metadata"], (body.get("spec") or {}).get("accessModes") or ()
    return Claim(metadata["name"], tuple(modes), "deletionTimestamp" in metadata)


def _problem(name: str, status: Body) -> Problem | None:
    """Texts that stay the same while the problem does: a back-off's own message changes with every try."""
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] == "False" and one.get("reason") == "Unschedulable":
            message = one_line(f"no node takes the pod {name}: {one.get('message', '')}")
            return Problem(reasons.UNSCHEDULABLE, message, _moment(one.get("lastTransitionTime")))
    for one in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _PULL_REASONS:
            message = f"the pod {name} cannot pull the image {one.get('image', '')}"
            return Problem(reasons.IMAGE_NOT_PULLED, one_line(message))
        if waiting.get("reason") in _CONFIG_REASONS:
            message = f"the pod {name} cannot start: {waiting.get('message', '')}"
            return Problem(reasons.POD_NOT_CONFIGURED, one_line(message))
        ended = (one.get("state") or {}).get("terminated") or (one.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            why = ended.get("reason") or "Error"
            message = f"the container {one['name']} of {name} ended with exit code {ended['exitCode']} ({why})"
            return Problem(why, one_line(message))
    if status.get("phase") == "Failed" and status.get("reason"):
        message = f"the pod {name} failed: {status['reason']}: {status.get('message', '')}"
        return Problem(status["reason"], one_line(message))
    return None


def _label(body: Body, name: str) -> str:
    return str((body["metadata"].get("labels") or {}).get(name, ""))


def _attempt(body: Body) -> int:
    return _number(_label(body, contract.ATTEMPT_LABEL))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _moment(text: str | None) -> datetime | None:
    return parse_moment(text) if text else None
