"""Tiny jobs: a table of labelled texts, a tiny BERT, and one trial of them run in this process."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.manifests import job
from tests.unit.tiny_models import WORDS, save_pretrained
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.fused.ahead import GroupSite
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import State, Steps, run_trial
from thaw_trainer.prefix.memory import PrefixSite
from thaw_trainer.tasks.protocol import JobFiles, Share, Task
from thaw_trainer.tasks.text_classification import KIND, TextBatch, TextClassification
from thaw_trainer.uris import UriRoots

LABELS = ("red", "green", "blue")
Report = dict[str, Any]


def labelled_texts(count: int = 60, seed: int = 0) -> list[tuple[str, str]]:
    """Different texts of 3 to 24 words; a text's label is the colour in it."""
    random = np.random.default_rng(seed)
    rows: dict[str, str] = {}
    while len(rows) < count:
        label = LABELS[len(rows) % len(LABELS)]
        words = [*random.choice(WORDS[3:], size=random.integers(2, 24)), label]
        rows[" ".join(random.permutation(words))] = label
    return list(rows.items())


def write_csv(file: Path, rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = ("text", "label")) -> Path:
    """A table as a csv file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])
    return file


class WatchedTask(TextClassification):
    """Remembers the module, and all tensors as each evaluation finds them."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.built: list[torch.nn.Module] = []
        self.snapshots: list[dict[str, torch.Tensor]] = []

    def build(self) -> torch.nn.Module:
        """See Task."""
        self.built.append(super().build())
        return self.built[-1]

    def batches(self, split: str, epoch: int, share: Share) -> Any:
        """See Task."""
        if split == "validation" and self.built:
            self.snapshots.append(snapshot(self.built[0]))
        return super().batches(split, epoch, share)


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every tensor and buffer."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in named.items()}


@dataclass
class Run:
    """What a trial told, and how it ended."""

    reports: list[Report] = field(default_factory=list)
    state: State | None = None

    @property
    def losses(self) -> list[list[float]]:
        """Each epoch's losses, step by step."""
        return [report["train_losses"] for report in self.reports]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """Each epoch's metrics."""
        return [report["metrics"] for report in self.reports]


class Killed(BaseException):
    """Stands for a process that ends without a word."""


def run(
    task: Task,
    spec: FineTuneJobSpec,
    folder: Path,
    gang: Gang | None = None,
    answer: Callable[[Report], bool] = lambda report: True,
    reported: int = 0,
    prefix: PrefixSite | None = None,
    group: GroupSite | None = None,
    clock: Callable[[], float] = lambda: 0.0,
    first_phase: Path | None = None,
) -> Run:
    """Runs a trial; `answer` decides after each report whether it goes on."""
    result = Run()

    def report(item: Report) -> bool:
        result.reports.append(item)
        return answer(item)

    steps = Steps(report, clock, prefix, group, first_phase)
    result.state = run_trial(task, spec, folder, gang or Gang(), steps, spec.task_entry.metrics, reported)
    return result


def die_after(epoch: int) -> Callable[[Report], bool]:
    """An answer that never comes: the process dies with the report of an epoch."""

    def answer(report: Report) -> bool:
        if report["epoch"] == epoch:
            raise Killed
        return True

    return answer


class TinyJob:
    """A folder with data and model, and trials of it."""

    def __init__(self, root: Path, rows: list[tuple[str, str]] | None = None, **model: Any) -> None:
        self.root = root
        write_csv(root / "train.csv", rows or labelled_texts())
        save_pretrained(root / "model", **model)

    @classmethod
    def there(cls, root: Path) -> TinyJob:
        """A job whose folder another process has made."""
        tiny = cls.__new__(cls)
        tiny.root = root
        return tiny

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        """The job's spec: a batch of 8, 4 epochs, no dropout of its own; with changes by path."""
        own = {
            "model.uri": "file:model",
            "data.train.uri": "file:train.csv",
            "data.split": {"validation": 0.2, "test": 0.1, "stratifyBy": "label"},
            "training.batchSize": 8,
            "training.epochs": 4,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    def store(self, spec: FineTuneJobSpec) -> Path:
        """The prepared store of a spec."""
        return KIND.prepare(spec, JobFiles(UriRoots(self.root), self.root / "stores"))

    def task(self, spec: FineTuneJobSpec) -> WatchedTask:
        """The task of a trial."""
        return WatchedTask(spec, self.store(spec))

    def run(self, spec: FineTuneJobSpec, folder: str = "trial", **how: Any) -> Run:
        """Runs a trial whose checkpoints are in a folder of that name."""
        return run(self.task(spec), spec, self.root / "checkpoints" / folder, **how)

    def batch(self, spec: FineTuneJobSpec, split: str = "validation") -> TextBatch:
        """The first batch of a split."""
        batch: TextBatch = next(iter(self.task(spec).batches(split, 0, Share())))
        return batch


NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GRADUAL: dict[str, Any] = {"freezing": {"preset": "gradual"}, "training.epochs": 5}
"""With 3 blocks: head, top-1, top-2, top-3, all, an epoch each."""
