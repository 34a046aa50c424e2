"""A job as work: its rows where they can be counted at once, and what its schedule trains."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thaw_api.freezing import PhaseSpec
from thaw_api.job import FineTuneJobSpec
from thaw_api.model import DEFAULT_RANK
from thaw_trainer.advice.shape import Shape
from thaw_trainer.advice.work import Adapters, Part, Stretch, Work
from thaw_trainer.freezing.presets import preset_phases
from thaw_trainer.uris import UriRoots, resolve_data

LENGTHS = {
    **dict.fromkeys(("text-classification", "token-classification"), 128.0),
    **dict.fromkeys(("question-answering",), 384.0),
    **{"translation": 64.0, "summarization": 512.0, "causal-lm": 512.0},
    **{"speech-recognition": 10.0, "audio-classification": 5.0},
}
"""Of a row of a task, where nobody says: tokens, or seconds of a sound. Images have none."""

_TOP = re.compile(r"blocks\[(-?\d+):\]")
_WITH_TABLES = ("csv", "tsv", "jsonl", "parquet", "dataset")


@dataclass(frozen=True)
class Job:
    """A job's settings, and its work on a model."""

    spec: FineTuneJobSpec
    rows: int
    length: float | None
    """What each row is cut to; absent: unknown."""

    def work(self, shape: Shape, length: float, target: int) -> Work:
        """One trial on a model.

        Raises:
            TrainerError: ScheduleInvalid: the model has fewer blocks than the schedule wants.
        """
        training, adapter = self.spec.training, self.spec.model.adapter
        frozen = self.spec.freezing
        rank = 0 if adapter is None or adapter.method == "ia3" else adapter.rank or DEFAULT_RANK
        return Work(
            rows=self.rows,
            length=length,
            target=target,
            stretches=stretches(self.spec, shape),
            batch_rows=max(1, training.batch_size // training.gradient_accumulation),
            adapters=Adapters(rank) if adapter else None,
            cached=(frozen.cache is None or frozen.cache.mode != "never")
            and frozen.frozen_dropout == "off"
            and not self.spec.data.augment,
            moments=2 if training.optimizer.name == "adamw" else 1,
            weight_bytes=2 if self.spec.model.dtype == "bfloat16" else 4,
            precision=training.precision,
            recomputes=training.activation_checkpointing,
        )


def read_job(spec: FineTuneJobSpec, base: Path, rows: int | None) -> Job | None:
    """A job; None where nobody says its rows and they cannot be counted.

    Args:
        base: folder that relative file: URIs start from.

    Raises:
        TrainerError: the data is not there, or not readable.
    """
    length = spec.data.batching.max_length
    found = _training_rows(spec, base) if rows is None else rows
    return None if found is None else Job(spec, found, None if length is None else float(length))


def stretches(spec: FineTuneJobSpec, shape: Shape) -> tuple[Stretch, ...]:
    """The phases of a job's schedule as parts of its epochs; those whose end is not known beforehand share what is
    left with the ones behind them."""
    epochs = float(spec.training.epochs)
    phases = spec.freezing.phases or preset_phases(spec.freezing, shape.blocks, spec.training.epochs)
    found: list[Stretch] = []
    for index, phase in enumerate(phases):
        left = epochs - sum(each.epochs for each in found)
        if left <= 0:
            break
        until = phase.until
        length = left / (len(phases) - index)
        if until.epochs is not None:
            length = min(left, float(until.epochs))
        elif until.fraction is not None:
            length = min(left, max(0.0, epochs * until.fraction - (epochs - left)))
        found.append(Stretch(length or left, part_of(phase, shape)))
    left = epochs - sum(each.epochs for each in found)
    return (*found[:-1], Stretch(found[-1].epochs + left, found[-1].part)) if left > 0 else tuple(found)


def part_of(phase: PhaseSpec, shape: Shape) -> Part:
    """What a phase trains, rounded up to whole blocks from the top down."""
    parts = [_part(selector, shape) for selector in phase.train if not selector.startswith("!")]
    if "all" in parts:
        return "all"
    return max((part for part in parts if part != "head"), default="head", key=_size)


def _size(part: Part) -> int:
    return part if isinstance(part, int) else 0


def _part(selector: str, shape: Shape) -> Part:
    if selector == "head":
        return "head"
    if selector == "blocks":
        return shape.blocks
    if (match := _TOP.fullmatch(selector)) is None:
        return "all"
    first = int(match.group(1))
    return -first if first < 0 else max(0, shape.blocks - first)


def _training_rows(spec: FineTuneJobSpec, base: Path) -> int | None:
    source = spec.data.train
    if not source.uri.startswith(("file:", "pkg:")):
        return None
    path = resolve_data(source.uri, "spec.data.train.uri", UriRoots(base))
    counted = _count(path, source.format)
    if counted is None:
        return None
    split = spec.data.split
    held = split.validation * (spec.data.validation is None) + split.test * (spec.data.test is None)
    return max(1, round(counted * (1 - held)))


def _count(path: Path, given: str | None) -> int | None:
    folders: dict[str, Callable[[Path], bool]] = {
        "imagefolder": lambda file: file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tiff"),
        "audiofolder": lambda file: file.suffix.lower() in (".wav", ".flac", ".mp3", ".ogg"),
    }
    if given in folders:
        return sum(1 for file in path.rglob("*") if folders[given](file)) or None
    if given not in (None, *_WITH_TABLES) or (given is None and path.is_dir()):
        return None
    if given is None and path.suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"):
        return None
    from thaw_trainer.data.tables import read_table

    return int(read_table(path, given, "spec.data.train").num_rows)
