"""What a folder of an image model tells of its images, compared with the library that wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.tiny_images import TinyImages
from thaw_trainer.errors import TrainerError
from thaw_trainer.models.image_files import ImageSettings, image_settings

HALF = (0.5, 0.5, 0.5)


def folder_of(tmp_path: Path, processor: dict[str, Any], model_type: str = "vit") -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return tmp_path


def processor(name: str, **settings: Any) -> dict[str, Any]:
    return {"image_processor_type": f"{name}ImageProcessor", **settings}


SQUARE = {"height": 224, "width": 224}
PROCESSORS: list[tuple[str, dict[str, Any], int, int | None]] = [
    ("squeezed", processor("ViT", size=SQUARE), 224, None),
    ("as a number", {"feature_extractor_type": "ViTFeatureExtractor", "size": 224}, 224, None),
    ("convnext", processor("ConvNext", size={"shortest_edge": 224}, crop_pct=0.875), 224, 256),
    (
        "convnext as a number",
        {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875},
        224,
        256,
    ),
    ("large convnext", processor("ConvNext", size={"shortest_edge": 384}), 384, None),
    ("bit", processor("Bit", size={"shortest_edge": 256}, crop_size=SQUARE), 224, 256),
    ("not normalized", processor("ViT", size=64, do_normalize=False), 64, None),
]


@pytest.mark.parametrize(
    ("written", "size", "resize"), [row[1:] for row in PROCESSORS], ids=[row[0] for row in PROCESSORS]
)
def test_a_processors_scaling_is_ours(written: dict[str, Any], size: int, resize: int | None, tmp_path: Path) -> None:
    """`image_settings` compares what both make of a picture itself."""
    settings = image_settings(folder_of(tmp_path, written))
    assert (settings.size, settings.resize) == (size, resize)


@pytest.mark.parametrize(
    "written",
    [
        processor("MobileViT"),
        processor("ViT", size=SQUARE, rescale_factor=0.1),
        processor("ViT", size={"height": 224, "width": 160}),
    ],
    ids=["other order of colours", "other scale of values", "not square"],
)
def test_a_processor_that_does_something_else_is_refused(written: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="does more to an image than thaw can") as refused:
        image_settings(folder_of(tmp_path, written))
    assert refused.value.field == "spec.model.uri"


def test_a_processor_that_is_no_json_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {})
    (folder / "preprocessor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrainerError, match="no readable processor"):
        image_settings(folder)


def test_without_a_processor_the_configuration_tells_the_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "image_size": 48, "num_channels": 1}), encoding="utf-8"
    )
    assert image_settings(tmp_path) == ImageSettings(48, None, (0.5,), (0.5,))


def test_another_size_keeps_the_margin() -> None:
    settings = ImageSettings(224, 256, HALF, HALF)
    assert settings.at_size(112) == ImageSettings(112, 128, HALF, HALF)
    assert settings.at_size(None) == settings.at_size(224) == settings


@pytest.mark.parametrize("architecture", ["resnet18", "mnasnet0_5"])
def test_older_weights_of_torchvision_are_read(architecture: str, tmp_path: Path) -> None:
    """Files from before BatchNorm counted its batches, and a network that asks for its version."""
    tiny = TinyImages(tmp_path)
    small = {"data.features": [{"resize": {"size": 32}}], "model.init": "random"}
    task = tiny.task(tiny.spec(small | {"model.uri": f"torchvision://{architecture}"}))
    model = task.build()
    task.export(model, tmp_path / "older")
    file = tmp_path / "older" / "model.safetensors"
    save_file({name: each for name, each in load_file(file).items() if not name.endswith("num_batches_tracked")}, file)
    again = tiny.task(tiny.spec({"model.uri": "file:older"})).build()
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    buffers = dict(again.named_buffers())
    assert all(torch.equal(each, buffers[name]) for name, each in model.named_buffers() if "running" in name)
