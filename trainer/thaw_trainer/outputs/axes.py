"""Axes of plots: epochs, searched values, and limits that a wild value does not spoil."""

import math
from collections.abc import Sequence
from typing import Any

from thaw_api.tasks import Mode

_MARKED_POINTS = 40
_FEW_VALUES = 10


def with_marker(points: int) -> dict[str, Any]:
    """A line's markers: points that are few are shown."""
    return {"marker": "o", "ms": 3.5} if points <= _MARKED_POINTS else {}


def epoch_axis(ax: Any, epochs: int, first: int = 0) -> None:
    """Whole epochs from `first` on."""
    from matplotlib.ticker import MaxNLocator

    margin = max(0.25, (epochs - first) * 0.02) if first else 0
    ax.set_xlim(first - margin, max(epochs, 1) + max(margin, 0.02 * epochs))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")


def limits(ax: Any, values: Sequence[float], mode: Mode) -> None:
    """Limits of y. The best value is always inside; of the worse ones, a few that lie far off are cut."""
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    sign = 1 if mode == "max" else -1
    ordered = sorted((value for value in values if math.isfinite(value)), key=lambda value: sign * value)
    if not ordered:
        return
    best, poor = ordered[-1], ordered[len(ordered) // 10]
    worst = ordered[0] if len(ordered) < _FEW_VALUES else poor - 2 * (best - poor)
    worst = worst if sign * worst > sign * ordered[0] else ordered[0]
    margin = 0.08 * abs(best - worst) or max(abs(best) * 0.05, 1e-3)
    ax.set_ylim(min(best, worst) - margin, max(best, worst) + margin)


def logarithmic_axis(ax: Any, low: float, high: float) -> None:
    """A logarithmic x from low to high, with ticks that can be read also within one decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    decades = math.log10(high / low)
    ax.set_xscale("log")
    if decades < 0.7:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=3))
    else:
        subs = (1.0, 2.0, 5.0) if decades < 1.2 else (1.0, 3.0) if decades < 2.5 else (1.0,)
        ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=6))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    margin = (high / low) ** 0.06
    ax.set_xlim(low / margin, high * margin)


def linear_axis(ax: Any, low: float, high: float) -> None:
    """A linear x from low to high."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
    margin = 0.06 * (high - low)
    ax.set_xlim(low - margin, high + margin)
