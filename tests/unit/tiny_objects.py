"""Tiny detection jobs: pictures with coloured rectangles in them, annotated as COCO does, and tiny detectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.tasks.object_detection import KIND, ObjectDetection
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.uris import UriRoots

SIZE = 32
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}
QUERIES = 7  # with 16 patches and [CLS], YOLOS reads 24 tokens: of a multiple of 8, every CPU computes each row alike
Coco = dict[str, Any]


def write_rectangles(folder: Path, count: int = 40, seed: int = 0, most: int = 3) -> Path:
    """A folder of pictures (32 high, 32 or 40 wide) with 0 to `most` rectangles each, and `_annotations.coco.json`."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    names = list(COLOURS)
    categories = [{"id": 10 * place, "name": name} for place, name in enumerate(names, start=1)]
    written: Coco = {"images": [], "annotations": [], "categories": categories}
    for index in range(count):
        height, width = SIZE, SIZE + 8 * (index % 2)
        pixels = random.integers(0, 64, (height, width, 3), dtype=np.uint8)
        for _ in range(index % (most + 1)):
            sides = random.integers(8, 16, 2)
            left, top = (int(random.integers(0, side - sides[axis])) for axis, side in enumerate((width, height)))
            name = names[int(random.integers(len(names)))]
            pixels[top : top + sides[1], left : left + sides[0]] = COLOURS[name]
            annotation = {"id": len(written["annotations"]) + 1, "image_id": 100 + index, "iscrowd": 0}
            box = [left, top, int(sides[0]), int(sides[1])]
            place = 10 * (names.index(name) + 1)
            written["annotations"].append(annotation | {"category_id": place, "bbox": box})
        file = f"{index:03d}.png"
        Image.fromarray(pixels).save(folder / file)
        written["images"].append({"id": 100 + index, "file_name": file, "width": width, "height": height})
    write_annotations(folder, written)
    return folder


def write_annotations(folder: Path, written: Coco) -> None:
    """Puts annotations beside the pictures of a folder."""
    (folder / "_annotations.coco.json").write_text(json.dumps(written), encoding="utf-8")


def annotations_of(folder: Path) -> Coco:
    """The annotations beside the pictures of a folder."""
    found: Coco = json.loads((folder / "_annotations.coco.json").read_text(encoding="utf-8"))
    return found


def yolos_config(**changes: Any) -> Any:
    """Three layers of a YOLOS."""
    from transformers import YolosConfig

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    images = {"image_size": [SIZE, SIZE], "patch_size": 8, "num_detection_tokens": QUERIES}
    return YolosConfig(**(sizes | images | changes))


def detr_config(kind: str = "detr", **changes: Any) -> Any:
    """A DETR, or another of its family, over a ResNet of two stages of transformers; no dropout."""
    from transformers import CONFIG_MAPPING, ResNetConfig

    depths = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    backbone = ResNetConfig(**depths, out_features=["stage2"])
    sizes = {"d_model": 16, "num_queries": QUERIES, "dropout": 0.0}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 24}
    return CONFIG_MAPPING[kind](**({"backbone_config": backbone} | sizes | changes))


CONFIGS: dict[str, Callable[..., Any]] = {
    "yolos": yolos_config,
    "detr": detr_config,
    "table-transformer": lambda **changes: detr_config("table-transformer", **changes),
    "conditional_detr": lambda **changes: detr_config("conditional_detr", **changes),
}
"""By `model_type`."""


def save_detector(folder: Path, family: str = "yolos", **changes: Any) -> Path:
    """A tiny detector of 2 classes, and how it wants its images."""
    from transformers import AutoModelForObjectDetection

    torch.manual_seed(0)
    model = AutoModelForObjectDetection.from_config(CONFIGS[family](num_labels=2, **changes))
    model.save_pretrained(folder)
    processor = {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": SIZE, "longest_edge": 48}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


class TinyObjects:
    """A folder with pictures and a tiny detector, and trials of it."""

    def __init__(self, root: Path, family: str = "yolos", count: int = 40, **model: Any) -> None:
        self.root = root
        write_rectangles(root / "pictures", count)
        save_detector(root / "model", family, **model)

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 2 epochs; with changes by path."""
        own = {
            "task": "object-detection",
            "model.uri": "file:model",
            "data.train.uri": "file:pictures",
            "data.split": {"validation": 0.2, "test": 0.2},
            "training.batchSize": 8,
            "training.epochs": 2,
            "training.optimizer": {"lr": 1e-3},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        """Where the job's inputs and stores are."""
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, spec: FineTuneJobSpec) -> ObjectDetection:
        """The task of a trial."""
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, spec: FineTuneJobSpec, folder: str = "trial", **how: Any) -> Run:
        """Runs a trial whose checkpoints are in a folder of that name."""
        return run(self.task(spec), spec, self.root / "checkpoints" / folder, **how)
