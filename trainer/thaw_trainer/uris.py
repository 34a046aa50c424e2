"""URIs of models and data to folders and files of this machine."""

import importlib.util
from pathlib import Path

from thaw_trainer.errors import DATA_NOT_FOUND, MODEL_NOT_FOUND, TrainerError

_MODEL_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]


def resolve_data(uri: str, field: str, base: Path) -> Path:
    """The file or folder that a data URI names.

    Args:
        field: path of the field that holds the URI, for errors.
        base: folder that a relative file: URI starts from (the manifest's).

    Raises:
        TrainerError: DataNotFound.
    """
    path = _local_path(uri, field, base, DATA_NOT_FOUND)
    if not path.exists():
        raise TrainerError(DATA_NOT_FOUND, f"{uri} names {path}, and nothing is there", field)
    return path


def resolve_model(uri: str, field: str, base: Path) -> Path:
    """The folder with a model's config.json and weights; hf:// is downloaded into the Hugging Face cache.

    Raises:
        TrainerError: ModelNotFound.
    """
    if uri.startswith("hf:"):
        return _from_hub(uri, field)
    path = _local_path(uri, field, base, MODEL_NOT_FOUND)
    if not (path / "config.json").is_file():
        raise TrainerError(MODEL_NOT_FOUND, f"{uri} names {path}, and no config.json is there", field)
    return path


def output_folder(uri: str, base: Path) -> Path:
    """The folder that `output.uri` names on one machine (a file: URI)."""
    return _local_path(uri, "spec.output.uri", base, DATA_NOT_FOUND)


def _local_path(uri: str, field: str, base: Path, reason: str) -> Path:
    scheme, _, rest = uri.partition(":")
    if scheme == "file":
        return (base / (rest.removeprefix("//") if rest.startswith("///") else rest)).absolute()
    if scheme == "pkg":
        package, _, inside = rest.removeprefix("//").partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise TrainerError(reason, f"{uri}: the Python package {package!r} is not installed", field)
        return Path(next(iter(spec.submodule_search_locations))) / inside
    raise TrainerError(reason, f"{uri}: {scheme}: cannot be read on one machine; use file: or pkg:", field)


def _from_hub(uri: str, field: str) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = uri.removeprefix("hf:").removeprefix("//").partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=_MODEL_FILES))
    except Exception as error:  # the hub's client raises errors of several libraries
        raise TrainerError(
            MODEL_NOT_FOUND, f"{uri} could not be had from the hub: {type(error).__name__}: {error}", field
        ) from error
