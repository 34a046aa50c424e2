"""The reliability diagram: how many rows are right of those that the model is so sure of."""

from typing import Any

from thaw_trainer.outputs.svg import ACCENT, LINE, MUTED, Plot, draw


def reliability_plot(calibration: dict[str, Any]) -> Plot:
    """Both diagrams, as the model is and with its temperature; a point is as large as its bin has rows."""

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], color=LINE, lw=1, zorder=1)
        for name, colour, label in (("bins", MUTED, "as it is"), ("scaledBins", ACCENT, "with its temperature")):
            bins = calibration[name]
            rows = sum(each["rows"] for each in bins)
            places = [each["share"] for each in bins], [each["right"] for each in bins]
            ax.plot(*places, color=colour, lw=1.2, label=label)
            ax.scatter(*places, s=[8 + 160 * each["rows"] / rows for each in bins], color=colour, zorder=3)
        ax.set_xlim(0, 1.02)
        ax.set_ylim(0, 1.02)
        ax.set_aspect("equal")
        ax.set_xlabel("share that the model gives its answer")
        ax.set_title("share of these answers that is right")
        ax.legend(frameon=False, loc="upper left", fontsize=9.5)

    return draw("reliability", "Reliability diagram of the test rows", 420, 400, paint)
