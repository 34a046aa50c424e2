"""An image classifier of transformers, torchvision or timm, with a head for the job's labels."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models import pretrained
from thaw_trainer.models.image_files import (
    WEIGHTS,
    ImageSettings,
    library_of,
    processor_config,
    read_config,
    write_torchvision,
)
from thaw_trainer.models.pretrained import URI_FIELD

_DROPOUT_FIELD = "spec.model.head.dropout"
_COUNT = "num_batches_tracked"
_AUXILIARY_HEADS = ("inception_v3", "googlenet")


def build(folder: Path, spec: ModelSpec, labels: list[str]) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it).

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    if library_of(folder) == "transformers":
        return pretrained.build(_auto_class(), folder, _transformers_config(folder, spec, labels), spec)
    module = _of_library(folder, spec, len(labels)).to(getattr(torch, spec.dtype))
    if spec.init == "pretrained":
        _load(module, folder, spec)
    return module


def build_empty(folder: Path, spec: ModelSpec, labels: list[str]) -> nn.Module:
    """The module without numbers (meta device)."""
    if library_of(folder) == "transformers":
        return pretrained.build_empty(_auto_class(), _transformers_config(folder, spec, labels))
    return without_numbers(lambda: _of_library(folder, spec, len(labels)))


def without_numbers(make: Callable[[], nn.Module]) -> nn.Module:
    """A module on the meta device; a network that computes its sizes with tensors (RegNet) has numbers first."""
    try:
        with torch.device("meta"):
            return make()
    except NotImplementedError:
        return make().to("meta")


def logits_of(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Logits [rows, classes] in float32.

    Args:
        pixels: [rows, channels, height, width], normalized.
    """
    output = model(pixels)
    logits: torch.Tensor = output if isinstance(output, torch.Tensor) else output.logits
    return logits.float()


def check_size(model: nn.Module, settings: ImageSettings) -> None:
    """Sees whether a model without numbers takes images of a size.

    Raises:
        TrainerError: ModelUnreadable, at `data.features`.
    """
    pixels = torch.empty(2, settings.channels, settings.size, settings.size, device="meta")
    try:
        logits_of(model.eval(), pixels)
    except Exception as error:  # each library raises its own
        raise TrainerError(
            MODEL_UNREADABLE,
            f"{type(model).__name__} takes no images of {settings.size} x {settings.size}: {error}",
            "spec.data.features",
        ) from error


def export(model: nn.Module, folder: Path, source: Path, settings: ImageSettings, labels: list[str]) -> None:
    """Writes a classifier in the layout of its library, which `source`, the folder that it was made from, tells.

    Args:
        settings: what it was trained with.
    """
    library = library_of(source)
    if library == "transformers":
        model.save_pretrained(folder)  # type: ignore[operator]
        (folder / "preprocessor_config.json").write_text(json.dumps(_processor(settings), indent=2), encoding="utf-8")
        return
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    if library == "torchvision":
        write_torchvision(folder, read_config(source)["architecture"], settings, {"labels": labels})
        return
    from timm.models._hub import save_config_for_hf

    data = {
        "input_size": (settings.channels, settings.size, settings.size),
        "mean": settings.mean,
        "std": settings.std,
        "crop_pct": settings.size / (settings.resize or settings.size),
        "interpolation": settings.interpolation,
    }
    save_config_for_hf(model, folder / "config.json", model_config={"label_names": labels}, data_config=data)


def _of_library(folder: Path, spec: ModelSpec, classes: int) -> nn.Module:
    """A torchvision or timm module with random tensors."""
    config = read_config(folder)
    name, dropout = config["architecture"], spec.head.dropout
    if library_of(folder) == "timm":
        import timm

        options = {name: value for name, value in config.get("model_args", {}).items() if name != "num_classes"}
        if dropout is not None:
            options["drop_rate"] = dropout
        module: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **options)
        return module
    from torchvision.models import get_model

    if name in _AUXILIARY_HEADS:
        raise TrainerError(
            MODEL_UNREADABLE, f"torchvision's {name} has auxiliary heads, which are not trained", URI_FIELD
        )
    try:
        module = get_model(name, weights=None, num_classes=classes, **({} if dropout is None else {"dropout": dropout}))
    except TypeError as error:
        raise TrainerError(MODEL_UNREADABLE, f"{name} has no dropout before its head", _DROPOUT_FIELD) from error
    return module


def _load(module: nn.Module, folder: Path, spec: ModelSpec) -> None:
    """The folder's tensors into a module; only those of the head may be missing or of another shape."""
    try:
        found: Mapping[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise TrainerError(MODEL_UNREADABLE, f"no readable weights in {folder}: {error}", URI_FIELD) from error
    wanted = module.state_dict()
    fits = {name for name, tensor in wanted.items() if name in found and found[name].shape == tensor.shape}
    layout = find_layout(module, spec.blocks)
    below = set(layout.names(-1, layout.blocks - 1))
    # Files from before BatchNorm counted its batches lack the count, which nothing reads.
    buffers = {name for name in wanted if name not in layout.place_of_name and not name.endswith(_COUNT)}
    lacking = sorted((below | buffers) - fits)
    if lacking:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"the weights in {folder} lack {len(lacking)} tensors below the head, or have them in other shapes: "
            f"{', '.join(lacking[:5])}",
            URI_FIELD,
        )
    # The module's own dict tells the versions of its layers, which some of them ask for.
    wanted.update({name: found[name] for name in fits})
    module.load_state_dict(wanted)


def _transformers_config(folder: Path, spec: ModelSpec, labels: list[str]) -> Any:
    if spec.head.dropout is not None:
        raise TrainerError(
            MODEL_UNREADABLE, "image models of transformers have no dropout of their head", _DROPOUT_FIELD
        )
    return pretrained.load_config(folder, **pretrained.label_settings(labels))


def _processor(settings: ImageSettings) -> dict[str, Any]:
    """preprocessor_config.json that does what the images went through here."""
    config = processor_config(settings)
    cut = {"do_center_crop": settings.resize is not None, "crop_size": config["size"]}
    if settings.resize is None:
        return config | cut | {"image_processor_type": "ViTImageProcessor"}
    return config | cut | {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": settings.resize}}


def _auto_class() -> Any:
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification
