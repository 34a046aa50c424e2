"""What each task is called, which columns it reads and which metrics it has: data, so that a manifest can be
checked without torch. The trainer's tasks implement these entries."""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from thaw_api.cleaning import CLEANING
from thaw_api.labels import LabelKind
from thaw_api.steps import (
    BOX_AUGMENTATION,
    COLUMN_FEATURES,
    IMAGE_AUGMENTATION,
    IMAGE_FEATURES,
    QUESTION_FEATURES,
    SOUND_CUTS,
    SPEECH_FEATURES,
    SUMMARY_FEATURES,
    TEXT_AUGMENTATION,
    TRANSLATION_FEATURES,
    Steps,
)

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
class Measures:
    """What a task has instead of its own for another kind of labels than single-label."""

    metrics: dict[str, Mode]
    objective: str
    smooths_labels: bool = True
    classifies: bool = False


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
    cleaning: Steps = field(default_factory=lambda: CLEANING)
    features: Steps = field(default_factory=dict)
    augmentation: Steps = field(default_factory=dict)
    embeds: bool = False
    """Whether its models give an embedding, whose size and margin `model.head` sets."""
    alternatives: tuple[tuple[str, ...], ...] = field(default=())
    """Other sets of roles, each of which may be there instead of `columns`."""
    strategies: tuple[str, ...] = ("bucket", "pad")
    """What `data.batching.strategy` may be."""
    reads_tokens: bool = False
    """Whether a row's length is in tokens, which `data.batching.tokensPerBatch` limits."""
    smooths_labels: bool = True
    """Whether its loss has a target that `training.labelSmoothing` can spread."""
    refits: bool = True
    """Whether its validation rows may be trained on as well (`search.refit`)."""
    classifies: bool = False
    """Whether each row has one of several classes: `training.regularization.rDrop` and `evaluation.labelErrors` are for
    those."""
    writes_text: bool = False
    """Whether its models, or some of them, write texts that are compared with targets: `data.batching.maxTargetLength`
    and `evaluation.generation` are about them."""
    text_metrics: tuple[str, ...] = field(default=())
    """Metrics for which such texts are written; the others need none."""
    acts: bool = False
    """Whether its model acts in an environment, instead of reading rows."""
    shares_steps: bool = True
    """Whether heads of several trials may be trained in one step: not where what a head computes is much larger than
    what it reads, since that is held for all of them at once, nor where a loss is no plain computation of tensors."""
    interval_budget: int = 400_000_000
    """Numbers of test rows that may be measured in all for bootstrap intervals; 0: it has none, since its metrics are
    not those of rows that could be drawn again."""
    kinds: dict[LabelKind, Measures] = field(default_factory=dict)
    """Kinds of labels that it has beside single-label, which the entry itself is about."""

    def of_kind(self, kind: LabelKind) -> "TaskEntry":
        """The entry for a kind of labels; as it is where the task does not have the kind."""
        own = self.kinds.get(kind)
        return replace(self, **vars(own)) if own else self

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role that `data.columns` may name."""
        return (*self.columns, *(role for roles in self.alternatives for role in roles), *self.optional_columns)


TASKS: dict[str, TaskEntry] = {
    "text-classification": TaskEntry(
        columns=("text", "label"),
        metrics={"accuracy": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
        formats=("csv", "tsv", "jsonl", "parquet", "dataset"),
        optional_columns=("textPair",),
        features=COLUMN_FEATURES,
        augmentation=TEXT_AUGMENTATION,
        classifies=True,
        reads_tokens=True,
        kinds={
            "multi-label": Measures(
                metrics={"microF1": "max", "macroF1": "max", "subsetAccuracy": "max", "map": "max", "loss": "min"},
                objective="microF1",
            ),
            "regression": Measures(
                metrics={"rmse": "min", "pearson": "max", "spearman": "max", "loss": "min"},
                objective="rmse",
                smooths_labels=False,
            ),
        },
    ),
    "token-classification": TaskEntry(
        columns=("tokens", "tags"),
        interval_budget=800_000,
        metrics={"f1": "max", "precision": "max", "recall": "max", "accuracy": "max", "loss": "min"},
        objective="f1",
        formats=("conll", "jsonl", "parquet", "dataset"),
        reads_tokens=True,
    ),
    "question-answering": TaskEntry(
        columns=("question", "context", "answers"),
        interval_budget=0,
        metrics={"f1": "max", "exactMatch": "max", "loss": "min"},
        objective="f1",
        formats=("squad", "jsonl", "parquet", "dataset"),
        features=QUESTION_FEATURES,
        reads_tokens=True,
        smooths_labels=False,
    ),
    "translation": TaskEntry(
        columns=("source", "target"),
        interval_budget=800_000,
        metrics={"loss": "min", "bleu": "max", "chrf": "max"},
        objective="loss",
        features=TRANSLATION_FEATURES,
        reads_tokens=True,
        writes_text=True,
        text_metrics=("bleu", "chrf"),
        shares_steps=False,
    ),
    "summarization": TaskEntry(
        columns=("text", "summary"),
        interval_budget=800_000,
        metrics={"loss": "min", "rouge1": "max", "rouge2": "max", "rougeL": "max"},
        objective="loss",
        features=SUMMARY_FEATURES,
        reads_tokens=True,
        writes_text=True,
        text_metrics=("rouge1", "rouge2", "rougeL"),
        shares_steps=False,
    ),
    "causal-lm": TaskEntry(
        columns=("text",),
        alternatives=(("messages",), ("prompt", "completion")),
        metrics={"loss": "min", "perplexity": "min", "accuracy": "max"},
        objective="loss",
        formats=("text", "csv", "tsv", "jsonl", "parquet"),
        strategies=("bucket", "pad", "pack"),
        features=COLUMN_FEATURES,
        reads_tokens=True,
        refits=False,
        shares_steps=False,
    ),
    "image-classification": TaskEntry(
        columns=("image", "label"),
        metrics={"accuracy": "max", "top5": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
        formats=("imagefolder", "parquet"),
        libraries=("torchvision", "timm"),
        features=IMAGE_FEATURES,
        augmentation=IMAGE_AUGMENTATION,
        strategies=("bucket",),
        classifies=True,
    ),
    "object-detection": TaskEntry(
        columns=(),
        interval_budget=0,
        metrics={"map": "max", "map50": "max", "map75": "max", "loss": "min"},
        objective="map",
        formats=("coco",),
        features=IMAGE_FEATURES,
        augmentation=BOX_AUGMENTATION,
        strategies=("bucket",),
        smooths_labels=False,
        shares_steps=False,
    ),
    "face-recognition": TaskEntry(
        columns=("image", "label"),
        interval_budget=0,
        metrics={"auc": "max", "tar": "max", "rank1": "max"},
        objective="auc",
        formats=("imagefolder", "parquet"),
        libraries=("torchvision", "timm"),
        features=IMAGE_FEATURES,
        augmentation=IMAGE_AUGMENTATION,
        embeds=True,
        refits=False,
        strategies=("bucket",),
    ),
    "audio-classification": TaskEntry(
        columns=("audio", "label"),
        metrics={"accuracy": "max", "f1": "max", "mcc": "max", "loss": "min"},
        objective="accuracy",
        formats=("audiofolder", "csv", "tsv", "jsonl", "parquet"),
        features=SOUND_CUTS,
        strategies=("bucket",),
        classifies=True,
    ),
    "reinforcement-learning": TaskEntry(
        cleaning={},
        columns=(),
        metrics={"return": "max", "worstReturn": "max"},
        objective="return",
        formats=("gymnasium",),
        strategies=("bucket",),
        smooths_labels=False,
        shares_steps=False,
        acts=True,
        refits=False,
    ),
    "speech-recognition": TaskEntry(
        columns=("audio", "text"),
        interval_budget=4_000_000,
        metrics={"wer": "min", "cer": "min", "loss": "min"},
        objective="wer",
        formats=("audiofolder", "csv", "tsv", "jsonl", "parquet"),
        features=SPEECH_FEATURES,
        strategies=("bucket",),
        smooths_labels=False,
        writes_text=True,
        text_metrics=("wer", "cer"),
    ),
}
"""The tasks that can be run; the other names of `TaskName` are refused as not available yet."""
