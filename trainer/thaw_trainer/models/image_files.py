"""An image model as a folder: config.json, which tells its library, and model.safetensors.

A library's own model (torchvision://, timm://) becomes such a folder once, so that every worker and every later attempt
reads the same bytes. transformers and timm have a layout of their own; torchvision has none, so its folders hold
`{"library": "torchvision", "architecture": ..., "image": {...}}`.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import torch
from safetensors.torch import save_file

from thaw_api.model import ModelSpec
from thaw_trainer.data.store import digest
from thaw_trainer.disk import writing
from thaw_trainer.errors import MODEL_NOT_FOUND, MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import URI_FIELD
from thaw_trainer.uris import UriRoots, resolve_model

Library = Literal["transformers", "torchvision", "timm"]

WEIGHTS = "model.safetensors"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CHANNELS = 3


@dataclass(frozen=True)
class ImageSettings:
    """How a model wants its images."""

    size: int
    """Height and width in pixels."""
    resize: int | None
    """The shorter side is brought to this, then the middle is cut out; None: height and width are both scaled."""
    mean: tuple[float, ...]
    """Of each channel, on a scale of 0 to 1; as many as there are channels."""
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"

    @property
    def channels(self) -> int:
        """1 for grey, 3 for red, green and blue."""
        return len(self.mean)

    def at_size(self, size: int | None) -> "ImageSettings":
        """The same for images of another size, with the same margin cut off."""
        if size is None or size == self.size:
            return self
        resize = None if self.resize is None else round(self.resize * size / self.size)
        return ImageSettings(size, resize, self.mean, self.std, self.interpolation)


def model_folder(spec: ModelSpec, roots: UriRoots, models: Path) -> Path:
    """The folder of a spec's model; a library's own model is written below `models` first.

    Raises:
        TrainerError: ModelNotFound, OutputNotWritable.
    """
    library, _, rest = spec.uri.partition(":")
    if library not in ("torchvision", "timm"):
        return resolve_model(spec.uri, URI_FIELD, roots)
    folder = models / digest(spec.uri, spec.init)
    if not folder.is_dir():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        name, _, query = rest.removeprefix("//").partition("?")
        fetch = _fetch_torchvision if library == "torchvision" else _fetch_timm
        with writing(models):
            unfinished.mkdir(parents=True)
            fetch(name, parse_qs(query), spec, unfinished)
            unfinished.rename(folder)
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """config.json as it is written; raises TrainerError ModelUnreadable."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError(MODEL_UNREADABLE, f"no readable config.json in {folder}: {error}", URI_FIELD) from error
    return config


def library_of(folder: Path) -> Library:
    """Which library a folder's model is of."""
    config = read_config(folder)
    if config.get("library") == "torchvision":
        return "torchvision"
    if "model_type" in config:
        return "transformers"
    if "architecture" in config:
        return "timm"
    raise TrainerError(
        MODEL_UNREADABLE,
        f"{folder / 'config.json'} has no model_type (transformers) and no architecture (timm, torchvision)",
        URI_FIELD,
    )


def image_settings(folder: Path) -> ImageSettings:
    """How the model of a folder wants its images."""
    config = read_config(folder)
    library = library_of(folder)
    if library == "torchvision":
        image = config["image"]
        return ImageSettings(**(image | {"mean": tuple(image["mean"]), "std": tuple(image["std"])}))
    if library == "timm":
        return _timm_settings(config)
    return _transformers_settings(folder, config)


def write_torchvision(folder: Path, architecture: str, settings: ImageSettings, extra: dict[str, Any]) -> None:
    """config.json of a torchvision model."""
    config = {"library": "torchvision", "architecture": architecture, "image": asdict(settings), **extra}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _fetch_torchvision(name: str, query: dict[str, list[str]], spec: ModelSpec, folder: Path) -> None:
    from torchvision.models import get_model_builder, get_model_weights

    try:
        get_model_builder(name)
        known = get_model_weights(name)
    except ValueError as error:
        raise TrainerError(MODEL_NOT_FOUND, f"torchvision has no model {name!r}", URI_FIELD) from error
    wanted = query.get("weights", ["DEFAULT"])[0]
    names = [weights.name for weights in known]
    if wanted != "DEFAULT" and wanted not in names:
        raise TrainerError(MODEL_NOT_FOUND, f"{name} has weights {', '.join(names)}; found {wanted!r}", URI_FIELD)
    weights = known[wanted] if names else None
    if weights is None or not hasattr(weights.transforms(), "crop_size"):
        raise TrainerError(MODEL_NOT_FOUND, f"torchvision's {name} does not classify images", URI_FIELD)
    preset = weights.transforms()
    settings = ImageSettings(
        preset.crop_size[0], preset.resize_size[0], tuple(preset.mean), tuple(preset.std), preset.interpolation.value
    )
    write_torchvision(folder, name, settings, {"weights": weights.name})
    if spec.init == "pretrained":
        save_file(
            _downloaded(spec.uri, lambda: weights.get_state_dict(progress=False, check_hash=True)), folder / WEIGHTS
        )


def _fetch_timm(name: str, query: dict[str, list[str]], spec: ModelSpec, folder: Path) -> None:
    import timm
    from timm.models._hub import save_config_for_hf

    if name.partition(".")[0] not in timm.list_models():
        raise TrainerError(MODEL_NOT_FOUND, f"timm has no model {name!r}", URI_FIELD)
    pretrained = spec.init == "pretrained"
    if pretrained:
        model = _downloaded(spec.uri, lambda: timm.create_model(name, pretrained=True))
        timm.models.save_for_hf(model, folder, safe_serialization=True)
    else:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
        save_config_for_hf(model, folder / "config.json")


def _downloaded(uri: str, download: Any) -> Any:
    try:
        return download()
    except Exception as error:  # the libraries' downloads raise errors of several libraries
        raise TrainerError(
            MODEL_NOT_FOUND, f"{uri} could not be had: {type(error).__name__}: {error}", URI_FIELD
        ) from error


def _timm_settings(config: dict[str, Any]) -> ImageSettings:
    given = config.get("pretrained_cfg", {})
    channels, size, _ = given.get("input_size", (_CHANNELS, 224, 224))
    mean, std = given.get("mean", _IMAGENET_MEAN), given.get("std", _IMAGENET_STD)
    resize = round(size / given.get("crop_pct", 0.875))
    return ImageSettings(
        size, resize, tuple(mean)[:channels], tuple(std)[:channels], given.get("interpolation", "bicubic")
    )


def _transformers_settings(folder: Path, config: dict[str, Any]) -> ImageSettings:
    """From preprocessor_config.json, where the folder has one; else what the configuration tells."""
    file = folder / "preprocessor_config.json"
    given = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    channels = config.get("num_channels", _CHANNELS)
    mean, std = given.get("image_mean", [0.5] * channels), given.get("image_std", [0.5] * channels)
    wanted, crop = given.get("size"), given.get("crop_size")
    resize = None
    if isinstance(wanted, dict):
        resize = wanted.get("shortest_edge")
        size = wanted.get("height") or resize
    else:
        size = wanted or config.get("image_size") or 224
    if given.get("do_center_crop") and crop:
        resize, size = resize or size, crop["height"] if isinstance(crop, dict) else crop
    elif resize is not None and given.get("crop_pct"):
        # ConvNeXt's processor scales beyond the size below 384 and cuts the margin off.
        resize = round(resize / given["crop_pct"]) if resize < 384 else resize
    elif resize is not None:
        resize = size
    interpolation = {0: "nearest", 2: "bilinear", 3: "bicubic"}.get(given.get("resample", 2), "bilinear")
    return ImageSettings(int(size), resize, tuple(mean)[:channels], tuple(std)[:channels], interpolation)  # type: ignore[arg-type]
