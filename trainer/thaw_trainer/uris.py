"""URIs of models and data to folders and files that this process can read."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from thaw_api.contract import split_claim
from thaw_trainer.errors import DATA_NOT_FOUND, MODEL_NOT_FOUND, OUTPUT_NOT_WRITABLE, TrainerError

_MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]
_CLAIM_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class UriRoots:
    """The folders that URIs lead to."""

    manifest: Path
    """Where a relative file: URI starts."""
    claims: Path | None = None
    """The folder with every mounted claim; None: this is no cluster."""
    hub: Path | None = None
    """Where models of the hub are kept; None: in the hub's own cache."""


def resolve_data(uri: str, field: str, roots: UriRoots) -> Path:
    """The file or folder that a data URI names.

    Args:
        field: path of the field that holds the URI, for errors.

    Raises:
        TrainerError: DataNotFound.
    """
    path = _local_path(uri, field, roots, DATA_NOT_FOUND)
    if not path.exists():
        raise TrainerError(DATA_NOT_FOUND, f"{uri} names {path}, and nothing is there", field)
    return path


def resolve_model(uri: str, field: str, roots: UriRoots) -> Path:
    """The folder with a model's config.json and weights, or a model that is one archive (*.zip); hf:// is downloaded
    from the hub. The folder of an earlier run stands for the model that it left.

    Raises:
        TrainerError: ModelNotFound.
    """
    if uri.startswith("hf:"):
        return _from_hub(uri, field, roots.hub)
    path = _local_path(uri, field, roots, MODEL_NOT_FOUND)
    if path.suffix == ".zip" and path.is_file():
        return path
    if (path / "result.json").is_file():
        path /= "model"
        if not path.is_dir():
            raise TrainerError(MODEL_NOT_FOUND, f"{uri} names a run that left no model: it failed", field)
    if not (path / "config.json").is_file():
        raise TrainerError(MODEL_NOT_FOUND, f"{uri} names {path}, and no config.json is there", field)
    return path


def resolve_run(uri: str, field: str, roots: UriRoots) -> Path:
    """The folder of an earlier run that has come to its end.

    Raises:
        TrainerError: DataNotFound.
    """
    path = resolve_data(uri, field, roots)
    if not (path / "result.json").is_file():
        raise TrainerError(DATA_NOT_FOUND, f"{uri} names {path}, and no result.json is there", field)
    return path


def output_folder(uri: str, roots: UriRoots) -> Path:
    """The folder that `output.uri` names: a file: URI on one machine, pvc: on a cluster.

    Raises:
        TrainerError: OutputNotWritable, for a URI of another kind.
    """
    return _local_path(uri, "spec.output.uri", roots, OUTPUT_NOT_WRITABLE)


def _local_path(uri: str, field: str, roots: UriRoots, reason: str) -> Path:
    scheme, _, rest = uri.partition(":")
    if scheme == "file":
        return (roots.manifest / (rest.removeprefix("//") if rest.startswith("///") else rest)).absolute()
    if scheme == "pvc":
        return _in_claim(uri, field, roots.claims, reason)
    if scheme == "pkg" and reason != OUTPUT_NOT_WRITABLE:
        package, _, inside = rest.removeprefix("//").partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise TrainerError(reason, f"{uri}: the Python package {package!r} is not installed", field)
        return Path(next(iter(spec.submodule_search_locations))) / inside
    if roots.claims is None:
        raise TrainerError(reason, f"{uri}: {scheme}: cannot be read on one machine; use file: or pkg:", field)
    raise TrainerError(reason, f"{uri}: {scheme}: is not available yet; use pvc://claim/path", field)


def _in_claim(uri: str, field: str, claims: Path | None, reason: str) -> Path:
    """A path inside a mounted claim; one that would lead out of it is refused."""
    if claims is None:
        raise TrainerError(
            reason, f"{uri}: a claim cannot be read on one machine, it is a cluster's; use file: or pkg:", field
        )
    claim, path = split_claim(uri) or ("", "")
    if not _CLAIM_NAME.fullmatch(claim):
        raise TrainerError(reason, f"{uri}: write pvc://claim/path; {claim!r} is no claim's name", field)
    parts = path.split("/")
    if ".." in parts or "\0" in path:
        raise TrainerError(reason, f"{uri}: a path stays inside its claim: no `..`", field)
    if not (claims / claim).is_dir():
        raise TrainerError(reason, f"{uri}: the claim {claim!r} is not mounted at {claims / claim}", field)
    # Joined part by part: a path that begins with a slash would replace what is before it.
    return (claims / claim).joinpath(*(part for part in parts if part))


def _from_hub(uri: str, field: str, cache: Path | None) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = uri.removeprefix("hf:").removeprefix("//").partition("@")
    try:
        return Path(
            snapshot_download(repository, revision=revision or None, cache_dir=cache, allow_patterns=_MODEL_FILES)
        )
    except Exception as error:  # the hub's client raises errors of several libraries
        raise TrainerError(
            MODEL_NOT_FOUND, f"{uri} could not be had from the hub: {type(error).__name__}: {error}", field
        ) from error
