"""What the report shows, as data: the template only lays it out."""

from dataclasses import dataclass
from typing import Any

import yaml

from thaw_trainer.outputs.plots import phases_of
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.wording import number, setting, share, short_paths
from thaw_trainer.search.journal import TrialRecord

LISTED_TRIALS = 200
LISTED_CLASSES = 200
LISTED_CONFUSIONS = 10
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class MetricRow:
    """One metric of the best trial on both held-out splits."""

    name: str
    validation: float | None
    test: float | None
    interval: tuple[float, float] | None = None
    """The middle 95% of the test metric when its rows are drawn again."""


@dataclass(frozen=True)
class Baseline:
    """Always answering the test rows' most frequent class: its share of them is the accuracy to beat."""

    label: str
    accuracy: float


@dataclass(frozen=True)
class SimpleModel:
    """A model without anything learned from order or context: `test` is what it reaches."""

    metric: str
    test: float
    description: str


@dataclass(frozen=True)
class TrialRow:
    """One trial in the table; `values` are in the order of the table's parameters."""

    name: str
    state: str
    is_best: bool
    values: list[str]
    objective: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    failure: dict[str, Any] | None


@dataclass(frozen=True)
class PhaseRow:
    """One freezing phase that the best trial went through."""

    name: str
    first: int
    last: int
    trainable: int
    total: int
    selectors: str


@dataclass(frozen=True)
class ClassRow:
    """One class: its rows in each split, and how the test rows of it fared."""

    label: str
    rows: list[int]
    recall: float | None
    precision: float | None


def test_rows(summary: RunSummary) -> int:
    """How many rows the best trial was tested on."""
    measured = summary.final.get("test", {}).get("rows")
    return int(measured if measured is not None else summary.facts.get("counts", {}).get("test", 0))


def metric_rows(summary: RunSummary) -> list[MetricRow]:
    """The metrics that the job chose and the objective, which comes first."""
    test = summary.final.get("test", {}).get("metrics", {})
    best = summary.best.best_report() if summary.best else None
    held_out = "refit" not in summary.final.get("refined", {})
    measured = summary.final.get("validation", {}).get("metrics") if held_out else None
    validation = measured or (best["metrics"] if best else {})
    chosen = summary.job.spec.evaluation.metrics
    names = dict.fromkeys(
        [summary.metric, *(name for name in (*test, *validation) if chosen is None or name in chosen)]
    )
    intervals = summary.final.get("test", {}).get("intervals", {})
    rows = [MetricRow(name, validation.get(name), test.get(name), intervals.get(name)) for name in names]
    return [row for row in rows if row.validation is not None or row.test is not None]


def slice_table(summary: RunSummary) -> tuple[list[str], list[tuple[str, int, list[float | None]]]]:
    """The metrics that the job chose, and of each slice of the test rows its name, rows and their values; the first
    slice is all rows."""
    names = [row.name for row in metric_rows(summary) if row.test is not None]
    test = summary.final.get("test", {})
    slices = test.get("slices", [])
    if not slices:
        return [], []
    everything = {"name": "all rows", "rows": test.get("rows", 0), "metrics": test.get("metrics", {})}
    return names, [
        (each["name"], each["rows"], [each["metrics"].get(name) for name in names]) for each in (everything, *slices)
    ]


def baseline(summary: RunSummary) -> Baseline | None:
    """The baseline of the test rows, where each has one class that is known."""
    if summary.job.spec.data.labels.kind != "single-label":
        return None
    classes: dict[str, int] = summary.facts.get("classes", {}).get("test", {})
    rows = sum(classes.values())
    if not rows:
        return None
    label = max(classes, key=lambda each: classes[each])
    return Baseline(label, classes[label] / rows)


def simple_model(summary: RunSummary) -> SimpleModel | None:
    """What the task has fitted to compare with, where it has."""
    found = summary.facts.get("baseline")
    return SimpleModel(found["metric"], found["test"], found["description"]) if found else None


def samples(summary: RunSummary) -> list[dict[str, str]]:
    """What the model makes of a few test examples: prompt, model, text."""
    found: list[dict[str, str]] = summary.final.get("test", {}).get("details", {}).get("samples") or []
    return found


def episode(summary: RunSummary) -> dict[str, Any] | None:
    """The test episode that the model shows, of an agent."""
    found: dict[str, Any] | None = summary.final.get("test", {}).get("details", {}).get("episode")
    return found


def precision_rows(summary: RunSummary) -> list[tuple[str, float | None]]:
    """Labels of boxes and their average precision on the test images; None for one that none of them has."""
    found: dict[str, float | None] = summary.final.get("test", {}).get("details", {}).get("averagePrecision") or {}
    return list(found.items())


def trial_rows(summary: RunSummary) -> list[TrialRow]:
    """The trials, the best first, those that failed last."""
    rows = [_trial_row(summary, record) for record in summary.records]
    sign = 1 if summary.mode == "max" else -1

    def rank(row: TrialRow) -> tuple[bool, bool, bool, float]:
        value = row.objective
        is_number = value is not None and value == value
        return not row.is_best, row.state == "failed", not is_number, -sign * value if value is not None else 0.0

    return sorted(rows, key=rank)


def parameter_names(summary: RunSummary) -> dict[str, str]:
    """Each path that trials set, and the short name of its column."""
    return short_paths(dict.fromkeys(path for record in summary.records for path in record.parameters))


def _trial_row(summary: RunSummary, record: TrialRecord) -> TrialRow:
    best = record.best_report()
    return TrialRow(
        name=record.name,
        state=record.state,
        is_best=summary.best is not None and record.ordinal == summary.best.ordinal,
        values=[
            setting(record.parameters[path]) if path in record.parameters else "–" for path in parameter_names(summary)
        ],
        objective=float(best["metrics"][summary.metric]) if best else None,
        best_epoch=best["epoch"] if best else None,
        epochs=len(record.reports),
        seconds=sum(report["ended"] - report["started"] for report in record.reports),
        failure=record.failure,
    )


def phase_rows(summary: RunSummary) -> list[PhaseRow]:
    """The phases of the best trial; selectors where the manifest wrote them."""
    reports = summary.best.reports if summary.best else []
    selectors = {phase.name: ", ".join(phase.train) for phase in summary.job.spec.freezing.phases or ()}
    return [
        PhaseRow(
            name, first, last, reports[first - 1]["trainable"], reports[first - 1]["total"], selectors.get(name, "")
        )
        for name, first, last in phases_of(reports)
    ]


def class_rows(summary: RunSummary) -> list[ClassRow]:
    """The classes in the order of the labels, with recall and precision where what they are taken for was counted."""
    classes = summary.facts.get("classes", {})
    if not classes:
        return []
    labels = summary.facts.get("labels") or list(classes.get("train", {}))
    counted = _label_counts(summary) or [(0, 0, 0)] * len(labels)
    return [
        ClassRow(
            label,
            [classes.get(split, {}).get(label, 0) for split in _SPLITS],
            _quotient(hits, true),
            _quotient(hits, guessed),
        )
        for label, (hits, true, guessed) in zip(labels, counted, strict=True)
    ]


def confusions(summary: RunSummary) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: true label, predicted label, rows."""
    confusion = _confusion(summary)
    labels = confusion.get("labels", [])
    wrong = [
        (labels[true], labels[predicted], rows)
        for true, row in enumerate(confusion.get("matrix", []))
        for predicted, rows in enumerate(row)
        if rows and true != predicted
    ]
    return sorted(wrong, key=lambda mistake: -mistake[2])[:LISTED_CONFUSIONS]


def confusion_of(summary: RunSummary) -> tuple[list[str], list[list[int]]] | None:
    """Labels and counts [true][predicted] of the test rows, when the task has them."""
    confusion = _confusion(summary)
    return (confusion["labels"], confusion["matrix"]) if confusion else None


def state_counts(summary: RunSummary) -> str:
    """How many trials there were, and how they ended."""
    states = [record.state for record in summary.records]
    parts = [f"{states.count(state)} {state}" for state in ("succeeded", "stopped", "failed", "running")]
    return ", ".join(part for part in parts if not part.startswith("0 "))


def parameter_text(parameters: dict[str, Any]) -> str:
    """A trial's values in one line."""
    return ", ".join(f"{name} {setting(parameters[path])}" for path, name in short_paths(parameters).items())


def headline(summary: RunSummary) -> str:
    """The run in one line, for the page's description."""
    if summary.failure:
        return f"Failed: {summary.failure.get('reason', '')}"
    rows = metric_rows(summary)
    if not rows or rows[0].test is None:
        return summary.status
    return f"{rows[0].name} {number(rows[0].test)} on {test_rows(summary)} test rows"


def stage_rows(summary: RunSummary) -> list[tuple[str, float, str]]:
    """Stage, seconds and share of the total; the total itself is not among them."""
    stages = {name: value for name, value in summary.seconds.items() if name != "total"}
    total = summary.seconds.get("total") or sum(stages.values())
    return [(name, value, share(value, total)) for name, value in stages.items()]


def manifest_text(summary: RunSummary) -> str:
    """The job as YAML, defaults written out."""
    text: str = yaml.safe_dump(summary.job.manifest(), sort_keys=False, allow_unicode=True, width=100)
    return text


def _confusion(summary: RunSummary) -> dict[str, Any]:
    found: dict[str, Any] = summary.final.get("test", {}).get("details", {}).get("confusion") or {}
    return found


def _label_counts(summary: RunSummary) -> list[tuple[int, int, int]]:
    """Of each label: test rows that were given it rightly, that have it, and that were given it; none if unknown."""
    found = summary.final.get("test", {}).get("details", {}).get("labelCounts")
    if found:
        return list(zip(found["hits"], found["true"], found["guessed"], strict=True))
    matrix = _confusion(summary).get("matrix") or []
    guessed = [sum(column) for column in zip(*matrix, strict=True)]
    return [(row[index], sum(row), guessed[index]) for index, row in enumerate(matrix)]


def _quotient(part: int, whole: int) -> float | None:
    return part / whole if whole else None
