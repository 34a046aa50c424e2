"""The confusion matrix: rows are the true classes, shaded by the share of the row, numbers are rows of data."""

from typing import Any

from thaw_trainer.outputs.svg import ACCENT, INK, LINE, PAPER, Plot, draw
from thaw_trainer.outputs.wording import shortened

MOST_CLASSES = 30
"""With more of them a matrix cannot be read."""
_LABEL_LETTERS = 20
_DARK = 0.55


def confusion_plot(labels: list[str], matrix: list[list[int]]) -> Plot | None:
    """The plot; None when nothing was counted, or when there are too many classes."""
    classes = len(labels)
    if not 1 < classes <= MOST_CLASSES or not any(map(any, matrix)):
        return None
    cell = max(22, min(72, 420 // classes))
    names = [shortened(label, _LABEL_LETTERS) for label in labels]
    margin = 40 + 7 * max(map(len, names))
    turned = max(map(len, names)) * 7 > cell
    size = 8.5 if cell < 30 else 12

    def paint(figure: Any) -> None:
        from matplotlib.patches import Rectangle

        ax = figure.subplots()
        for true, row in enumerate(matrix):
            for predicted, rows in enumerate(row):
                if rows:
                    part = rows / sum(row)
                    ax.add_patch(
                        Rectangle((predicted - 0.5, true - 0.5), 1, 1, facecolor=ACCENT, alpha=0.08 + 0.92 * part, lw=0)
                    )
                    colour = PAPER if part > _DARK else INK
                    ax.text(predicted, true, _short(rows), ha="center", va="center", color=colour, fontsize=size)
        _frame(ax, names, turned, size)

    height = cell * classes + (margin if turned else 50)
    return draw("confusion", "Confusion matrix of the test rows", cell * classes + margin, height, paint, crop=True)


def _frame(ax: Any, names: list[str], turned: bool, size: float) -> None:
    places = range(len(names))
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_aspect("equal")
    ax.grid(visible=False)
    for place in range(len(names) + 1):
        ax.axhline(place - 0.5, color=LINE, lw=0.6)
        ax.axvline(place - 0.5, color=LINE, lw=0.6)
    ax.spines[:].set_visible(False)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0, labelsize=min(max(size, 9), 11))
    ax.set_xticks(places, names, rotation=90 if turned else 0)
    ax.set_yticks(places, names)
    ax.set_xlabel("predicted", labelpad=8)
    ax.set_ylabel("true", labelpad=8)


def _short(rows: int) -> str:
    return str(rows) if rows < 10_000 else f"{rows / 1000:.0f}k"
