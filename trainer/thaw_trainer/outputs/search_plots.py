"""One small scatter for each searched parameter: what value gave what objective."""

import math
from dataclasses import dataclass
from typing import Any

from thaw_api.schema_model import Scalar
from thaw_api.search import ParameterSpec
from thaw_trainer.outputs.axes import limits, linear_axis, logarithmic_axis
from thaw_trainer.outputs.plots import drawn_trials
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.svg import ACCENT, MUTED, PAPER, Plot, draw
from thaw_trainer.outputs.wording import setting, shortened
from thaw_trainer.search.journal import TrialRecord

_GOLDEN = 0.618034
_MANY_VALUES = 5


_LOOKS: dict[str, dict[str, Any]] = {
    "failed": {"marker": "x", "ms": 6, "mec": MUTED, "mfc": "none", "zorder": 3},
    "stopped": {"marker": "o", "ms": 6, "mec": MUTED, "mfc": PAPER, "zorder": 3},
    "succeeded": {"marker": "o", "ms": 6, "mec": MUTED, "mfc": MUTED, "zorder": 3},
    "best": {"marker": "o", "ms": 8, "mec": ACCENT, "mfc": ACCENT, "zorder": 4},
}


@dataclass(frozen=True)
class ParameterPlot:
    """A searched path and its plot."""

    path: str
    plot: Plot


def search_plots(summary: RunSummary) -> list[ParameterPlot]:
    """A plot for each parameter; none when fewer than two trials have an objective."""
    scored = drawn_trials(summary, [record for record in summary.records if _score(summary, record) is not None])
    if len(scored) < 2:
        return []
    parameters = summary.job.spec.search.parameters or []
    return [
        ParameterPlot(parameter.path, _scatter(summary, scored, parameter, f"search{index}"))
        for index, parameter in enumerate(parameters)
        if all(parameter.path in record.parameters for record in scored)
    ]


def _scatter(summary: RunSummary, scored: list[TrialRecord], parameter: ParameterSpec, name: str) -> Plot:
    def paint(figure: Any) -> None:
        ax = figure.subplots()
        placed = [
            (record, _place(parameter, record.parameters[parameter.path], index), _score(summary, record))
            for index, record in enumerate(scored)
        ]
        for look, style in _LOOKS.items():
            points = [(x, y) for record, x, y in placed if _look(summary, record) == look]
            if points:
                ax.plot(*zip(*points, strict=True), linestyle="none", mew=1.3, **style)
        ax.set_title(f"validation {shortened(summary.metric, 24)}")
        limits(ax, [_score(summary, record) or 0.0 for record in scored], summary.mode)
        _value_axis(ax, parameter)

    return draw(name, f"Objective by {parameter.path}", 300, 210, paint)


def _look(summary: RunSummary, record: TrialRecord) -> str:
    if summary.best is not None and record.ordinal == summary.best.ordinal:
        return "best"
    return record.state if record.state in _LOOKS else "succeeded"


def _value_axis(ax: Any, parameter: ParameterSpec) -> None:
    kind, domain = parameter.arm()
    if kind != "choice":
        (logarithmic_axis if kind == "logUniform" else linear_axis)(ax, domain.min, domain.max)
        return
    names = [shortened(setting(value), 14) for value in domain.values]
    turned = len(names) > _MANY_VALUES or sum(map(len, names)) > 34
    ax.set_xticks(range(len(names)), names, rotation=90 if turned else 0)
    ax.set_xlim(-0.5, len(names) - 0.5)


def _place(parameter: ParameterSpec, value: Scalar, index: int) -> float:
    """Where a value lies on the axis; equal choices are spread a little, so that no trial hides another."""
    if parameter.choice is None:
        return float(value)
    values = parameter.choice.values
    place = next((at for at, each in enumerate(values) if each == value and type(each) is type(value)), None)
    place = values.index(value) if place is None else place
    return place + 0.3 * ((index * _GOLDEN) % 1 - 0.5)


def _score(summary: RunSummary, record: TrialRecord) -> float | None:
    best = record.best_report()
    value = float(best["metrics"][summary.metric]) if best else math.nan
    return value if math.isfinite(value) else None
