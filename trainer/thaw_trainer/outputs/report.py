"""report.html: the run for people, in one file that needs nothing else."""

from importlib.resources import files
from pathlib import Path

from thaw_trainer.outputs import report_view as view
from thaw_trainer.outputs.confusion_plot import MOST_CLASSES, confusion_plot
from thaw_trainer.outputs.episode_plot import episode_plot
from thaw_trainer.outputs.plots import DRAWN_TRIALS, all_trials, learning_curves
from thaw_trainer.outputs.reliability_plot import reliability_plot
from thaw_trainer.outputs.search_plots import search_plots
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.svg import Plot
from thaw_trainer.outputs.templates import render
from thaw_trainer.outputs.whole_file import write_whole_text
from thaw_trainer.outputs.wording import made_by, refined_texts


def write_report(summary: RunSummary, file: Path) -> None:
    """Writes the report.

    Raises:
        TrainerError: OutputNotWritable.
    """
    write_whole_text(file, report_of(summary))


def report_of(summary: RunSummary) -> str:
    """The report as HTML: the same page for the same summary."""
    trials = view.trial_rows(summary)
    classes = view.class_rows(summary)
    return render(
        "report.html.jinja",
        summary=summary,
        spec=summary.job.spec,
        style=files("thaw_trainer.outputs").joinpath("templates", "report.css").read_text(encoding="utf-8"),
        headline=view.headline(summary),
        metrics=view.metric_rows(summary),
        test_rows=view.test_rows(summary),
        baseline=view.baseline(summary),
        simple_model=view.simple_model(summary),
        samples=view.samples(summary),
        episode=_episode(summary),
        precisions=view.precision_rows(summary)[: view.LISTED_CLASSES],
        states=view.state_counts(summary),
        refined=refined_texts(summary.final.get("refined", {})),
        best_values=view.parameter_text(summary.best.parameters) if summary.best else "",
        curves=learning_curves(summary, summary.best) if summary.best else None,
        phases=view.phase_rows(summary),
        trials_plot=all_trials(summary),
        most_drawn=DRAWN_TRIALS,
        search=search_plots(summary),
        confusion=_confusion(summary),
        most_classes=MOST_CLASSES,
        calibration=summary.final.get("test", {}).get("calibration"),
        reliability=_reliability(summary),
        label_errors=summary.final.get("labelErrors"),
        worst=summary.final.get("test", {}).get("worst", []),
        confusions=view.confusions(summary),
        parameters=view.parameter_names(summary),
        trials=trials[: view.LISTED_TRIALS],
        more_trials=len(trials[view.LISTED_TRIALS :]),
        classes=classes[: view.LISTED_CLASSES],
        more_classes=len(classes[view.LISTED_CLASSES :]),
        counts=summary.facts.get("counts", {}),
        slices=view.slice_table(summary),
        cleaning=summary.facts.get("cleaning", []),
        bad_rows=summary.facts.get("badRows", {"count": 0, "listed": []}),
        fingerprint=summary.facts.get("fingerprint"),
        stages=view.stage_rows(summary),
        manifest=view.manifest_text(summary),
        made_by=made_by(),
    )


def _episode(summary: RunSummary) -> Plot | None:
    found = view.episode(summary)
    return episode_plot(found) if found else None


def _reliability(summary: RunSummary) -> Plot | None:
    found = summary.final.get("test", {}).get("calibration")
    return reliability_plot(found) if found else None


def _confusion(summary: RunSummary) -> Plot | None:
    found = view.confusion_of(summary)
    return confusion_plot(*found) if found else None
