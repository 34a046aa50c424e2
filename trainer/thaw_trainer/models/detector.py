"""A detector of transformers: so many queries, each of which gives a class (or none) and a box."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torchvision.ops import box_convert

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models import pretrained
from thaw_trainer.models.image_files import (
    CHANNELS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageSettings,
    interpolation_of,
    processor_config,
    processor_of,
    read_config,
    sides_of,
)
from thaw_trainer.models.pretrained import URI_FIELD

Scores = Literal["softmax", "sigmoid"]
"""softmax: a query's classes share 1, with one more for no object; sigmoid: each class is a question of its own."""

_SIZE = 800
"""DETR's shortest edge, where neither processor nor configuration tells a size."""
_MOST_FOUND = 100
"""Boxes of an image at most, where each class of each query may give one; COCO looks at as many."""


@dataclass(frozen=True)
class Family:
    """What is known of a `model_type`."""

    scores: Scores
    processor: str
    """Class of its image processor."""


FAMILIES = {
    "detr": Family("softmax", "DetrImageProcessor"),
    "table-transformer": Family("softmax", "DetrImageProcessor"),
    "yolos": Family("softmax", "YolosImageProcessor"),
    "conditional_detr": Family("sigmoid", "ConditionalDetrImageProcessor"),
}
"""The detectors whose loss is computed here; see `DetectionLoss`."""


def load_config(folder: Path, spec: ModelSpec, labels: list[str]) -> Any:
    """The model's configuration with a head for `labels`.

    Raises:
        TrainerError: ModelUnreadable, also for a detector of another kind.
    """
    if spec.head.dropout is not None:
        raise TrainerError(MODEL_UNREADABLE, "detectors have no dropout of their head", "spec.model.head.dropout")
    config = pretrained.load_config(folder, **pretrained.label_settings(labels))
    _check_family(config.model_type)
    if config.auxiliary_loss and config.model_type == "yolos":
        raise TrainerError(MODEL_UNREADABLE, "YOLOS has no auxiliary_loss; its config.json asks for one", URI_FIELD)
    return config


def _check_family(model_type: str | None) -> None:
    if model_type not in FAMILIES:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"{model_type or 'a model without model_type'} is no detector that can be trained here; "
            f"{', '.join(FAMILIES)} are",
            URI_FIELD,
        )


def family_of(config: Any) -> Family:
    """What is known of a configuration's model."""
    return FAMILIES[config.model_type]


def queries_of(config: Any) -> int:
    """How many boxes a model gives of an image."""
    return int(config.num_detection_tokens if config.model_type == "yolos" else config.num_queries)


def build(folder: Path, config: Any, spec: ModelSpec) -> nn.Module:
    """A new module with the pretrained tensors and a random head (torch's generator decides it).

    DETR's classes freeze a part of the backbone, which part depends on the library that it is of; here the schedule
    alone says what is trained.
    """
    module = pretrained.build(_auto_class(), folder, config, spec, thaw=True)
    if spec.init == "random":
        _draw_zeros(module, config)
    return module


def _draw_zeros(module: nn.Module, config: Any) -> None:
    """Draws a YOLOS' tokens and positions, which transformers leaves at zero: queries that are alike would all learn
    the same, and patches without positions would say nothing of where an object is."""
    for name, parameter in module.named_parameters():
        if not name.endswith("bias") and not parameter.any():
            nn.init.normal_(parameter, std=config.initializer_range)


def build_empty(config: Any) -> nn.Module:
    """The module without numbers (meta device)."""
    return pretrained.build_empty(_auto_class(), config).requires_grad_(True)


def detector_settings(folder: Path) -> ImageSettings:
    """How the model of a folder wants its images: height and width are both brought to the shorter one's length, so
    that all are of one size and none is padded.

    Raises:
        TrainerError: ModelUnreadable.
    """
    config = read_config(folder)
    _check_family(config.get("model_type"))
    channels = config.get("num_channels", CHANNELS)
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        sides = config.get("image_size") or _SIZE
        size = min(sides) if isinstance(sides, list) else sides
        return ImageSettings(int(size), None, IMAGENET_MEAN[:channels], IMAGENET_STD[:channels])
    try:
        processor = processor_of(folder)
        wanted = sides_of(processor.size)
        size = min(wanted[side] for side in ("shortest_edge", "height", "width") if side in wanted)
        normalizes = getattr(processor, "do_normalize", True)
        mean, std = (processor.image_mean, processor.image_std) if normalizes else ([0.0] * channels, [1.0] * channels)
        scaling = interpolation_of(processor)
        return ImageSettings(int(size), None, tuple(mean)[:channels], tuple(std)[:channels], scaling)
    except Exception as error:  # json, key and value errors of many processors
        raise TrainerError(MODEL_UNREADABLE, f"no readable processor in {file}: {error}", URI_FIELD) from error


def check_size(config: Any, settings: ImageSettings) -> None:
    """Sees whether a model takes images of a size: whole ones, or as many patches as there are.

    Raises:
        TrainerError: ModelUnreadable, at `data.features`.
    """
    patch = getattr(config, "patch_size", 1)
    if settings.size < patch:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"images of {settings.size} x {settings.size} are smaller than the model's patches of {patch} x {patch}",
            "spec.data.features",
        )


def detections(
    logits: torch.Tensor, boxes: torch.Tensor, scores: Scores
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a model has found, as its image processor's `post_process_object_detection` says with a threshold of 0.

    Args:
        logits: [rows, queries, classes, and for softmax one more].
        boxes: [rows, queries, 4]: centre, width and height as shares of an image's sides.

    Returns:
        Scores and classes [rows, found], and boxes [rows, found, 4]: left, top, right, bottom.
    """
    corners = box_convert(boxes, "cxcywh", "xyxy")
    if scores == "softmax":
        best, category = logits.softmax(dim=-1)[..., :-1].max(dim=-1)
        return best, category, corners
    classes = logits.shape[-1]
    each = logits.sigmoid().flatten(1)
    best, place = each.topk(min(_MOST_FOUND, each.shape[1]), dim=1)
    query = (place // classes).unsqueeze(-1).expand(-1, -1, 4)
    return best, place % classes, corners.gather(1, query)


def export(model: nn.Module, folder: Path, settings: ImageSettings) -> None:
    """Hugging Face layout, with an image processor that scales images as they were in training."""
    model.save_pretrained(folder)  # type: ignore[operator]
    family = family_of(model.config)
    processor = processor_config(settings) | {"image_processor_type": family.processor, "do_pad": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2), encoding="utf-8")


def _auto_class() -> Any:
    from transformers import AutoModelForObjectDetection

    return AutoModelForObjectDetection
