"""What each task is called, which columns it reads and which metrics it has: data, so that a manifest can be
checked without torch. The trainer's tasks implement these entries."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["max", "min"]

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


TASKS: dict[str, TaskEntry] = {
    "text-classification": TaskEntry(
        columns=("text", "label"),
        metrics={"accuracy": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
    ),
}
"""The tasks that can be run; the other names of `TaskName` are refused as not available yet."""
