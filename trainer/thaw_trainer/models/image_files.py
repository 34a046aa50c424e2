"""An image model as a folder: config.json, which tells its library, and model.safetensors.

A library's own model (torchvision://, timm://) becomes such a folder once, so that every worker and every later attempt
reads the same bytes. transformers and timm have a layout of their own; torchvision has none, so its folders hold
`{"library": "torchvision", "architecture": ..., "image": {...}}`.
"""

import io
import json
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.data.store import digest
from thaw_trainer.disk import writing
from thaw_trainer.errors import MODEL_NOT_FOUND, MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.pretrained import URI_FIELD
from thaw_trainer.uris import UriRoots, resolve_model

Library = Literal["transformers", "torchvision", "timm"]
Interpolation = Literal["bilinear", "bicubic", "nearest"]

WEIGHTS = "model.safetensors"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = 3
_RESAMPLING: dict[Interpolation, int] = {"nearest": 0, "bilinear": 2, "bicubic": 3}
"""PIL's numbers, which processors write."""
_MOST_DIFFERENCE = 0.05
"""Between two libraries' ways to scale a picture, in normalized values; another order of colours gives 0.5."""


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
    interpolation: Interpolation = "bilinear"

    @staticmethod
    def read(written: dict[str, Any]) -> "ImageSettings":
        """The inverse of `asdict`, through JSON."""
        return ImageSettings(**(written | {"mean": tuple(written["mean"]), "std": tuple(written["std"])}))

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
        return ImageSettings.read(config["image"])
    if library == "timm":
        return _timm_settings(config)
    return _transformers_settings(folder, config)


def write_torchvision(folder: Path, architecture: str, settings: ImageSettings, extra: dict[str, Any]) -> None:
    """config.json of a torchvision model."""
    config = {"library": "torchvision", "architecture": architecture, "image": asdict(settings), **extra}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _fetch_torchvision(name: str, query: dict[str, list[str]], spec: ModelSpec, folder: Path) -> None:
    from torchvision.models import get_model, get_model_builder, get_model_weights

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
        # torchvision's builders rename what older files call otherwise: the module's own tensors are kept.
        model = _downloaded(spec.uri, lambda: get_model(name, weights=weights))
        save_file({each: tensor.contiguous() for each, tensor in model.state_dict().items()}, folder / WEIGHTS)


def _fetch_timm(name: str, query: dict[str, list[str]], spec: ModelSpec, folder: Path) -> None:
    import timm
    from timm.models._hub import save_config_for_hf

    if name.partition(".")[0] not in timm.list_models():
        raise TrainerError(MODEL_NOT_FOUND, f"timm has no model {name!r}", URI_FIELD)
    pretrained = spec.init == "pretrained"
    if pretrained:
        model: nn.Module = _downloaded(spec.uri, lambda: timm.create_model(name, pretrained=True))
        timm.models.save_for_hf(model, folder, safe_serialization=True)
    else:
        try:
            with torch.device("meta"):
                model = timm.create_model(name, pretrained=False)
        except RuntimeError as error:  # a tag that the model does not have
            raise TrainerError(MODEL_NOT_FOUND, f"timm has no model {name!r}: {error}", URI_FIELD) from error
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
    channels, size, _ = given.get("input_size", (CHANNELS, 224, 224))
    mean, std = given.get("mean", IMAGENET_MEAN), given.get("std", IMAGENET_STD)
    resize = round(size / given.get("crop_pct", 0.875))
    return ImageSettings(
        size, resize, tuple(mean)[:channels], tuple(std)[:channels], given.get("interpolation", "bicubic")
    )


def _transformers_settings(folder: Path, config: dict[str, Any]) -> ImageSettings:
    """From preprocessor_config.json, where the folder has one; else what the configuration tells.

    Raises:
        TrainerError: ModelUnreadable, for a processor that does something else to an image than scale, cut and
            normalize it: what it makes of a picture is compared.
    """
    file = folder / "preprocessor_config.json"
    channels = config.get("num_channels", CHANNELS)
    if not file.is_file():
        half = (0.5,) * channels
        return ImageSettings(int(config.get("image_size") or 224), None, half, half)
    try:
        processor = processor_of(folder)
        settings = _scaling_of(processor, channels)
        difference = _difference(processor, settings) if channels == CHANNELS else 0.0
    except Exception as error:  # json, key and value errors of many processors
        raise TrainerError(MODEL_UNREADABLE, f"no readable processor in {file}: {error}", URI_FIELD) from error
    if difference > _MOST_DIFFERENCE:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"{type(processor).__name__} does more to an image than thaw can: after scaling, cutting and normalizing, "
            f"values differ by {difference:.2f} on average",
            URI_FIELD,
        )
    return settings


def processor_of(folder: Path) -> Any:
    """The image processor of transformers that a folder describes."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder, local_files_only=True)


def _scaling_of(processor: Any, channels: int) -> ImageSettings:
    """A processor's settings in our words."""
    wanted, cut = sides_of(processor.size), sides_of(getattr(processor, "crop_size", None))
    share = getattr(processor, "crop_pct", None)
    shortest = wanted.get("shortest_edge")
    size: Any = wanted.get("height") or shortest
    resize = shortest
    if share is not None and shortest is not None:
        # ConvNeXt's processor scales beyond the size below 384, and squeezes from there on.
        resize = int(shortest / share) if shortest < 384 else None
    elif getattr(processor, "do_center_crop", False) and cut:
        size = cut.get("height") or cut.get("shortest_edge")
    normalizes = getattr(processor, "do_normalize", True)
    mean, std = (processor.image_mean, processor.image_std) if normalizes else ([0.0] * channels, [1.0] * channels)
    return ImageSettings(int(size), resize, tuple(mean)[:channels], tuple(std)[:channels], interpolation_of(processor))


def interpolation_of(processor: Any) -> Interpolation:
    """How a processor scales; raises ValueError for a way that is not known here."""
    method = int(getattr(processor, "resample", 2))
    for name, number in _RESAMPLING.items():
        if number == method:
            return name
    raise ValueError(f"it scales by PIL's method {method}; {', '.join(_RESAMPLING)} are known")


def processor_config(settings: ImageSettings) -> dict[str, Any]:
    """What preprocessor_config.json says of scaling to a size, whichever processor reads it."""
    return {
        "do_resize": True,
        "size": {"height": settings.size, "width": settings.size},
        "resample": _RESAMPLING[settings.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(settings.mean),
        "image_std": list(settings.std),
        "do_convert_rgb": settings.channels == CHANNELS,
    }


def sides_of(size: Any) -> dict[str, Any]:
    """A processor's size by the names of its sides; empty where there is none."""
    if size is None or isinstance(size, int):
        return {"height": size, "width": size} if size else {}
    return {name: value for name, value in dict(size).items() if value is not None}


def _difference(processor: Any, settings: ImageSettings) -> float:
    """Mean difference between what a processor and our own decoding make of a picture that is wider than high."""
    from thaw_trainer.data.images import decode

    rows, columns = np.mgrid[: settings.size + 40, : 2 * settings.size]
    waves = [np.sin(rows / (9 + each)) + np.cos(columns / (13 - each)) for each in range(3)]
    picture = Image.fromarray((127 + 63 * np.stack(waves, axis=-1)).astype(np.uint8))
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    ours = (decode(encoded.getvalue(), settings) / 255 - settings.mean) / settings.std
    theirs = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
    return float(np.abs(ours - theirs).mean()) if ours.shape == theirs.shape else math.inf
