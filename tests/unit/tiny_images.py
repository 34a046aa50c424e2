"""Tiny image jobs: folders of small pictures, and tiny pretrained models of the three libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.manifests import job
from tests.unit.tiny_jobs import Run, run
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.tasks.image_classification import KIND, ImageClassification
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.uris import UriRoots

SIZE = 16
LABELS = ("diagonal", "horizontal", "vertical")


def picture(label: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """Stripes in a direction, with noise; [height, width, 3]."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    along = {"horizontal": rows, "vertical": columns, "diagonal": rows + columns}[label]
    stripes = 96 * (((along + random.integers(4)) // 2) % 2)
    return np.asarray(stripes[..., None] + random.integers(0, 96, (SIZE, SIZE, 3)), dtype=np.uint8)


def write_pictures(folder: Path, count: int = 60, seed: int = 0) -> Path:
    """An imagefolder of different pictures, as many of each label."""
    random = np.random.default_rng(seed)
    for index in range(count):
        label = LABELS[index % len(LABELS)]
        file = folder / label / f"{index:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(label, random)).save(file)
    return folder


def save_resnet(folder: Path, **changes: Any) -> Path:
    """A tiny ResNet of transformers."""
    from transformers import ResNetConfig, ResNetModel

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24], "depths": [1, 1, 1], "layer_type": "basic"}
    torch.manual_seed(0)
    ResNetModel(ResNetConfig(**(sizes | changes))).save_pretrained(folder)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 16, "width": 16},
        "image_mean": [0.4, 0.4, 0.4],
        "image_std": [0.2, 0.2, 0.2],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


def save_vit(folder: Path) -> Path:
    """A tiny ViT of transformers: no batch statistics, so a row's numbers are its own."""
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    config = ViTConfig(**sizes, **still, image_size=SIZE, patch_size=4)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


class TinyImages:
    """A folder with pictures and a tiny ResNet, and trials of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_pictures(root / "pictures")
        save_resnet(root / "model")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 3 epochs; with changes by path."""
        own = {
            "task": "image-classification",
            "model.uri": "file:model",
            "data.train.uri": "file:pictures",
            "data.split": {"validation": 0.2, "test": 0.1, "stratifyBy": "label"},
            "training.batchSize": 8,
            "training.epochs": 3,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        """Where the job's inputs and stores are."""
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, spec: FineTuneJobSpec) -> ImageClassification:
        """The task of a trial."""
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, spec: FineTuneJobSpec, folder: str = "trial", **how: Any) -> Run:
        """Runs a trial whose checkpoints are in a folder of that name."""
        return run(self.task(spec), spec, self.root / "checkpoints" / folder, **how)
