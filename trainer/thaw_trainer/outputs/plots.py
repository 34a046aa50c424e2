"""The plots of training and search. A plot with nothing to show is None."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from thaw_trainer.outputs.axes import epoch_axis, limits, with_marker
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.svg import ACCENT, INK, MUTED, PAPER, Plot, draw
from thaw_trainer.outputs.wording import shortened
from thaw_trainer.search.journal import TrialRecord

DRAWN_TRIALS = 150
"""Most trials in one plot, the best ones: more cannot be told apart, and the page stays small."""
_MANY_TRIALS = 40
_DRAWN_POINTS = 1200
_WIDTH = 380
_LETTER = 5.6
"""Width of a letter in small text, in the plot's units."""


def learning_curves(summary: RunSummary, record: TrialRecord) -> Plot | None:
    """One trial: loss of each step and epoch above, the objective below, phases named at the top."""
    reports = record.reports
    losses = [float(report["train_loss"]) for report in reports]
    panels = [name for name, has in (("loss", _any(losses)), ("objective", _any(summary.scores(record)))) if has]
    if not panels:
        return None

    def paint(figure: Any) -> None:
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for name, ax in zip(panels, axes, strict=True):
            _loss(ax, reports) if name == "loss" else _objective(ax, summary, record)
            _boundaries(ax, reports)
        _phase_names(axes[0], reports)
        epoch_axis(axes[-1], len(reports))

    return draw("curves", f"Learning curves of {record.name}", _WIDTH, 56 + 132 * len(panels), paint)


def all_trials(summary: RunSummary) -> Plot | None:
    """Every trial's objective by epoch, the best one in the accent's colour; None for a single trial."""
    drawn = drawn_trials(summary, [record for record in summary.records if _any(summary.scores(record))])
    if len(drawn) < 2:
        return None

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for record in drawn:
            is_best = summary.best is not None and record.ordinal == summary.best.ordinal
            colour, layer = (ACCENT, 4) if is_best else (MUTED, 3)
            values = _finite(summary.scores(record))
            epochs = list(range(1, len(values) + 1))
            shown = 1.0 if is_best else 0.55 if len(drawn) < _MANY_TRIALS else 0.25
            ax.plot(*_thin(epochs, values), color=colour, lw=2 if is_best else 1, alpha=shown, zorder=layer)
            last = max(index for index, value in enumerate(values) if not math.isnan(value))
            _marker(ax, epochs[last], values[last], record.state, colour, layer)
        ax.set_title(f"validation {shortened(summary.metric, 30)}")
        limits(ax, [value for record in drawn for value in summary.scores(record)], summary.mode)
        epoch_axis(ax, max(len(record.reports) for record in drawn), first=1)

    return draw("trials", "Objective of all trials by epoch", _WIDTH, 260, paint)


def drawn_trials(summary: RunSummary, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that a plot shows, the best one last so that it lies on top."""
    sign = 1 if summary.mode == "max" else -1
    return sorted(records, key=lambda record: (sign * _reached(summary, record), -record.ordinal))[-DRAWN_TRIALS:]


def _reached(summary: RunSummary, record: TrialRecord) -> float:
    best = record.best_report()
    value = float(best["metrics"][summary.metric]) if best else math.nan
    return value if math.isfinite(value) else (-math.inf if summary.mode == "max" else math.inf)


def _loss(ax: Any, reports: list[dict[str, Any]]) -> None:
    steps = [
        (report["epoch"] - 1 + (place + 0.5) / len(report["train_losses"]), float(value))
        for report in reports
        for place, value in enumerate(report["train_losses"])
    ]
    epochs = [(report["epoch"] - 0.5, float(report["train_loss"])) for report in reports]
    ax.plot(*_columns(steps), color=MUTED, lw=0.7, alpha=0.6)
    ax.plot(*_columns(epochs), color=INK, lw=1.4, **with_marker(len(epochs)))
    ax.set_title("training loss: each step, mean of each epoch")
    limits(ax, [value for _, value in [*steps, *epochs]], "min")


def _objective(ax: Any, summary: RunSummary, record: TrialRecord) -> None:
    scores = _finite(summary.scores(record))
    points = [(report["epoch"], value) for report, value in zip(record.reports, scores, strict=True)]
    ax.plot(*_columns(points), color=ACCENT, lw=1.8, **with_marker(len(points)))
    best = record.best_report()
    if best:
        at, value = best["epoch"], scores[best["epoch"] - 1]
        ax.plot([at], [value], "o", ms=9, mfc="none", mec=ACCENT, mew=1.2)
    ax.set_title(f"validation {shortened(summary.metric, 30)} after each epoch; ring: best")
    limits(ax, scores, summary.mode)


def phases_of(reports: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Name, first and last epoch of each phase that a trial went through."""
    runs = [(name, list(group)) for name, group in groupby(reports, key=lambda report: str(report["phase"]))]
    return [(name, group[0]["epoch"], group[-1]["epoch"]) for name, group in runs]


def _boundaries(ax: Any, reports: list[dict[str, Any]]) -> None:
    for _, first, _ in phases_of(reports)[1:]:
        ax.axvline(first - 1, color=MUTED, lw=0.9, ls=(0, (3, 3)))


def _phase_names(ax: Any, reports: list[dict[str, Any]]) -> None:
    """Names above the plot; numbers, which the page explains, where a phase is too short for its name."""
    phases = phases_of(reports)
    per_epoch = (_WIDTH - 60) / len(reports)
    fits = all(len(name) * _LETTER < (last - first + 1) * per_epoch for name, first, last in phases)
    for index, (name, first, last) in enumerate(phases, start=1):
        if not fits and (last - first + 1) * per_epoch < _LETTER * len(str(index)):
            continue
        text = shortened(name, 40) if fits else str(index)
        middle = (first - 1 + last) / 2
        ax.annotate(
            text, (middle, 1), xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
            ha="center", va="bottom", color=INK, fontsize=9.5,
        )  # fmt: skip
    ax.set_title(ax.get_title(loc="left"), pad=20)


def _marker(ax: Any, x: float, y: float, state: str, colour: str, layer: int) -> None:
    shape = {"stopped": "o", "failed": "x"}.get(state, "o")
    inside = PAPER if state == "stopped" else colour
    ax.plot([x], [y], shape, ms=5, mec=colour, mfc=inside, mew=1.3, zorder=layer + 0.5)


def _any(values: list[float]) -> bool:
    return any(math.isfinite(value) for value in values)


def _finite(values: list[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return _thin([x for x, _ in points], _finite([y for _, y in points]))


def _thin(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most `_DRAWN_POINTS` of the points, evenly, the last one among them."""
    step = -(-len(x) // _DRAWN_POINTS)
    start = (len(x) - 1) % step if step else 0
    return list(x[start :: step or 1]), list(y[start :: step or 1])
