"""What each task is called, which columns it reads and which metrics it has: data, so that a manifest can be
checked without torch. The trainer's tasks implement these entries."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from thaw_api.steps import IMAGE_AUGMENTATION, IMAGE_FEATURES, SOUND_CUTS, SOUND_FEATURES, Steps

Mode: TypeAlias = Literal["max", "min"]

LIBRARIES = ("torchvision", "timm")
"""Schemes of `model.uri` that name a library's models."""

TaskName = Literal[
    "text-classification",
    "token-classification",
    "question-answering",
    "translation",
    "summarization",
    "causal-lm",
    "image-classification",
    "object-detection",
    "face-recognition",
    "speech-recognition",
    "audio-classification",
    "reinforcement-learning",
]


@dataclass(frozen=True)
class TaskEntry:
    """One task: `columns` are its required roles, `metrics` map each metric to the better direction."""

    columns: tuple[str, ...]
    metrics: dict[str, Mode]
    objective: str
    formats: tuple[str, ...] = ("csv", "tsv", "jsonl", "parquet")
    optional_columns: tuple[str, ...] = field(default=())
    libraries: tuple[str, ...] = field(default=())
    """Schemes of `model.uri` beside folders and the hub, each a library's own models."""
    features: Steps = field(default_factory=dict)
    augmentation: Steps = field(default_factory=dict)
    embeds: bool = False
    """Whether its models give an embedding, whose size and margin `model.head` sets."""


TASKS: dict[str, TaskEntry] = {
    "text-classification": TaskEntry(
        columns=("text", "label"),
        metrics={"accuracy": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
    ),
    "token-classification": TaskEntry(
        columns=("tokens", "tags"),
        metrics={"f1": "max", "precision": "max", "recall": "max", "accuracy": "max", "loss": "min"},
        objective="f1",
        formats=("conll", "jsonl", "parquet"),
    ),
    "image-classification": TaskEntry(
        columns=("image", "label"),
        metrics={"accuracy": "max", "top5": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
        formats=("imagefolder", "parquet"),
        libraries=("torchvision", "timm"),
        features=IMAGE_FEATURES,
        augmentation=IMAGE_AUGMENTATION,
    ),
    "face-recognition": TaskEntry(
        columns=("image", "label"),
        metrics={"auc": "max", "tar": "max", "rank1": "max"},
        objective="auc",
        formats=("imagefolder", "parquet"),
        libraries=("torchvision", "timm"),
        features=IMAGE_FEATURES,
        augmentation=IMAGE_AUGMENTATION,
        embeds=True,
    ),
    "audio-classification": TaskEntry(
        columns=("audio", "label"),
        metrics={"accuracy": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
        formats=("audiofolder", "csv", "tsv", "jsonl", "parquet"),
        features=SOUND_CUTS,
    ),
    "speech-recognition": TaskEntry(
        columns=("audio", "text"),
        metrics={"wer": "min", "cer": "min", "loss": "min"},
        objective="wer",
        formats=("audiofolder", "csv", "tsv", "jsonl", "parquet"),
        features=SOUND_FEATURES,
    ),
}
"""The tasks that can be run; the other names of `TaskName` are refused as not available yet."""
