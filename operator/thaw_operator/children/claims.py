"""The claims that a job names in `pvc://` URIs, and how pods mount them."""

from collections.abc import Mapping
from typing import Any

from thaw_api.contract import CLAIMS_FOLDER, split_claim
from thaw_api.job import FineTuneJobSpec
from thaw_operator.observed import Claim

_SHARED_MODES = {"ReadWriteMany", "ReadOnlyMany"}
_ONE_POD = "ReadWriteOncePod"


def claims_of(spec: FineTuneJobSpec) -> dict[str, str]:
    """Each claim with the field that names it first, inputs before the output."""
    sources = {f"spec.data.{name}.uri": getattr(spec.data, name) for name in ("train", "validation", "test")}
    uris = [(field, source.uri) for field, source in sources.items() if source is not None]
    uris.append(("spec.model.uri", spec.model.uri))
    for index, parameter in enumerate(spec.search.parameters or ()):
        if parameter.path == "model.uri" and parameter.choice is not None:
            field = f"spec.search.parameters[{index}].choice.values"
            uris += [(field, str(value)) for value in parameter.choice.values]
    uris.append(("spec.output.uri", spec.output.uri))
    claims: dict[str, str] = {}
    for field, uri in uris:
        if (found := split_claim(uri)) is not None:
            claims.setdefault(found[0], field)
    return claims


def unshareable(claim: Claim) -> bool:
    """Whether only a single pod may use a claim; a job has at least two."""
    return set(claim.access_modes) == {_ONE_POD}


def on_one_node(claims: Mapping[str, Claim]) -> bool:
    """Whether all pods of the job must run on one node, since a claim cannot be mounted on several."""
    return any(not _SHARED_MODES & set(claim.access_modes) for claim in claims.values())


def volumes_of(spec: FineTuneJobSpec) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Volumes of a pod and mounts of its container; inputs are mounted read-only, also by the volume."""
    output = split_claim(spec.output.uri)
    volumes, mounts = [], []
    for index, claim in enumerate(claims_of(spec)):
        read_only = {} if output and claim == output[0] else {"readOnly": True}
        name = f"claim-{index}"
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim} | read_only})
        mounts.append({"name": name, "mountPath": f"{CLAIMS_FOLDER}/{claim}"} | read_only)
    return volumes, mounts
