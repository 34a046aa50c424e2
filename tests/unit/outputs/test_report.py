"""The report: well-formed, alone, escaped, with the plots that there is something to show for."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import parameter
from tests.unit.outputs.pages import Page, words
from tests.unit.outputs.summaries import (
    LR,
    SEARCHED,
    confusion,
    failed_summary,
    search_summary,
    searched,
    summary,
    trial,
)
from thaw_trainer.outputs.report import report_of, write_report

STRANGE = [
    "<script>alert(1)</script>",
    "l" * 400,
    "数学 🚀",
    "$x^2$ & `y` | z",
    "a\x00b\u202ec",
    '"><img src=x onerror=y>',
]
CURVES = "Learning curves of trial-0000"
TRIALS = "Objective of all trials by epoch"
MATRIX = "Confusion matrix of the test rows"

RUNS = {
    "one trial": summary(),
    "a search": search_summary(),
    "no finished epoch": failed_summary(),
    "nothing at all": summary([], best=None, facts={}, seconds={}, failure={"reason": "DataNotFound", "message": "no"}),
    "a metric that is NaN": summary([trial(scores=[math.nan, math.nan]), trial(1, [math.nan])], best=None),
    "NaN in between": summary([trial(scores=[0.5, math.nan, 0.6]), trial(1, [math.nan])]),
    "strange labels": summary(labels=STRANGE),
    "30 classes": summary(labels=[f"class {index}" for index in range(30)]),
    "77 classes": summary(labels=[f"class {index}" for index in range(77)]),
}


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    return {name: Page(report_of(run)) for name, run in RUNS.items()}


@pytest.mark.parametrize("name", RUNS)
def test_every_run_gives_a_page_that_is_well_formed(name: str, pages: dict[str, Page]) -> None:
    assert pages[name].html.startswith("<!doctype html>")
    assert ("body", {"class": RUNS[name].status.lower()}) in pages[name].tags
    assert pages[name].text.startswith("sections Fine-tuning · text classification sections")


@pytest.mark.parametrize("name", RUNS)
def test_a_page_loads_nothing_from_elsewhere(name: str, pages: dict[str, Page]) -> None:
    assert all(address.startswith(("#", "data:")) for address in pages[name].addresses())
    assert not any(tag in ("script", "iframe", "object", "embed", "img") for tag, _ in pages[name].tags)
    assert "@import" not in pages[name].html
    assert "url(http" not in pages[name].html


@pytest.mark.parametrize("name", RUNS)
def test_ids_are_unique_and_every_reference_finds_its_own(name: str, pages: dict[str, Page]) -> None:
    page = pages[name]
    assert len(page.ids) == len(set(page.ids))
    assert page.references() <= set(page.ids)
    assert bool(page.references()) == bool(page.plots)


@pytest.mark.parametrize("name", RUNS)
def test_no_plot_is_empty(name: str, pages: dict[str, Page]) -> None:
    for description in pages[name].plots:
        drawn = pages[name].svg(description)
        assert "line2d" in drawn
        assert any(word.strip() for word in words(drawn))
        assert "nan" not in drawn


@pytest.mark.parametrize("name", RUNS)
def test_plots_take_all_colours_from_the_page_so_that_dark_is_dark(name: str, pages: dict[str, Page]) -> None:
    for description in pages[name].plots:
        assert "fill: #" not in pages[name].svg(description)
        assert "stroke: #" not in pages[name].svg(description)


def test_a_search_shows_curves_trials_each_parameter_and_the_matrix(pages: dict[str, Page]) -> None:
    searches = [f"Objective by {each['path']}" for each in SEARCHED]
    assert pages["a search"].plots == ["Learning curves of trial-0001", TRIALS, *searches, MATRIX]


def test_a_single_trial_has_no_plot_of_trials_and_none_of_a_search(pages: dict[str, Page]) -> None:
    assert pages["one trial"].plots == [CURVES, MATRIX]


@pytest.mark.parametrize("name", ["no finished epoch", "nothing at all", "a metric that is NaN"])
def test_without_a_finite_objective_there_is_no_plot(name: str, pages: dict[str, Page]) -> None:
    assert pages[name].plots == []


def test_with_more_than_30_classes_the_most_frequent_mistakes_stand_for_the_matrix(pages: dict[str, Page]) -> None:
    assert MATRIX in pages["30 classes"].plots
    assert MATRIX not in pages["77 classes"].plots
    assert "too many classes for a matrix" in pages["77 classes"].text


def test_text_of_users_is_text(pages: dict[str, Page]) -> None:
    page = pages["strange labels"]
    assert "<script>alert(1)</script>" in page.text
    assert '"><img src=x onerror=y>' in page.text
    assert "数学 🚀" in words(page.svg(MATRIX))
    assert "a\ufffdb\ufffdc" in page.text
    assert not {"\x00", "\u202e"} & set(page.html)


def test_failures_and_warnings_of_users_are_text_too() -> None:
    bad = "<img src=x onerror=alert(1)>"
    failure = {"reason": bad, "message": bad, "cause": bad}
    run = replace(search_summary(), warnings=(bad,), failure=failure)
    run.records[3].failure = failure
    page = Page(report_of(run))
    assert not any(tag == "img" for tag, _ in page.tags)
    assert page.text.count(bad) == 5  # reason and message at the top and of the trial, the warning


def test_a_failed_job_says_why_before_anything_else(pages: dict[str, Page]) -> None:
    page = pages["no finished epoch"]
    reason = page.text.index("Failed: AllTrialsFailed")
    assert reason < page.text.index("every trial failed; the first: loss is nan") < page.text.index("Summary")
    assert ("body", {"class": "failed"}) in page.tags
    assert page.text.count("LossNotFinite: the loss became nan") == 2


def test_the_headline_is_the_test_metric_of_the_best_beside_the_share_of_the_most_frequent_class() -> None:
    text = Page(report_of(summary())).text
    assert "Test accuracy 0.7719 of the best trial, on 57 rows" in text
    # 20 of 57 test rows are apples.
    assert "Baseline accuracy 0.3509 always answering apples" in text


def test_metrics_that_the_job_did_not_choose_are_left_out_but_the_objective() -> None:
    page = Page(report_of(summary(changes={"evaluation.metrics": ["f1"]})))
    assert "accuracy 0.8000 0.7719" in page.text
    assert "f1 0.7500 0.7123" in page.text
    assert "mcc" not in page.text


def test_phases_are_named_at_their_boundaries(pages: dict[str, Page]) -> None:
    drawn = words(pages["one trial"].svg(CURVES))
    assert "head" in drawn
    assert "top" in drawn
    assert "1 head 1 1,000 5.0% 2 top 2–3 2,000 10.0%" in pages["one trial"].text


def test_phases_too_short_for_their_names_are_numbered() -> None:
    names = [f"a-long-name-of-phase-{index}" for index in range(12)]
    page = Page(report_of(summary([trial(scores=[0.1 + 0.05 * index for index in range(12)], phases=names)])))
    drawn = words(page.svg(CURVES))
    assert not set(names) & set(drawn)
    assert [word for word in drawn if word.isdigit()][:12] == [str(index) for index in range(1, 13)]
    assert all(name in page.text for name in names)


def test_the_best_trial_alone_has_the_accent_among_all_trials(pages: dict[str, Page]) -> None:
    drawn = pages["a search"].svg(TRIALS)
    lines = [part for part in drawn.split("<path ") if "stroke: var(--accent); stroke-width: 2" in part]
    assert len(lines) == 1


def test_a_log_uniform_parameter_has_a_logarithmic_axis_and_a_choice_its_values(pages: dict[str, Page]) -> None:
    page = pages["a search"]
    assert {"0.0003", "0.001", "0.003"} <= set(words(page.svg(f"Objective by {LR}")))
    assert {"0", "0.1"} <= set(words(page.svg("Objective by training.labelSmoothing")))
    uniform = [parameter(LR, uniform={"min": 1e-4, "max": 1e-2})]
    other = Page(
        report_of(summary([searched(0, 1e-3, [0.5]), searched(1, 2e-3, [0.6])], changes={"search.parameters": uniform}))
    )
    assert "0.0003" not in words(other.svg(f"Objective by {LR}"))


def test_the_matrix_shows_the_counts_that_are_not_zero() -> None:
    labels = ["apples", "pears", "plums"]
    drawn = words(Page(report_of(summary(labels=labels))).svg(MATRIX))
    counts = [str(rows) for row in confusion(labels)["matrix"] for rows in row if rows]
    assert [word for word in drawn if word.isdigit()] == counts


def test_trials_stand_with_the_best_first_and_the_failed_last(pages: dict[str, Page]) -> None:
    text = pages["a search"].text
    text = text[text.index("best epoch epochs seconds") :]
    order = sorted((f"trial-{index:04}" for index in range(5)), key=text.index)
    assert order == ["trial-0001", "trial-0000", "trial-0002", "trial-0003", "trial-0004"]
    assert "trial-0001 best 0.8000 0.001 0.1 9 2 3 25.5" in text
    assert "WorkerLost: the node is gone" in text


def test_rows_are_counted_by_split_and_class_with_recall_and_precision() -> None:
    text = Page(report_of(summary(labels=["apples", "pears"]))).text
    # 19 of 20 apples were found; 19 of the 20 called apples are.
    assert "apples 200 20 20 0.9500 0.9500" in text
    assert "Fingerprint 0123456789abcdef" in text


def test_stages_are_shown_by_their_share_of_the_whole_time() -> None:
    assert "search 1 min 35 s 95.0%" in Page(report_of(summary())).text


def test_the_manifest_is_there_folded() -> None:
    page = Page(report_of(summary()))
    assert [tag for tag, _ in page.tags].count("details") == 1
    assert "batchSize: 32" in page.text


def test_the_same_run_gives_the_same_page() -> None:
    assert report_of(search_summary()) == report_of(search_summary())


def test_a_long_search_stays_small_and_says_what_it_left_out(tmp_path: Path) -> None:
    many = [parameter(f"freezing.phases[0].train[{index}]", choice={"values": ["head", "norms"]}) for index in range(8)]
    phases = [{"name": "all", "train": ["head"] * 8, "until": {"fraction": 1.0}}]
    values: dict[str, Any] = {each["path"]: "head" for each in many}
    records = [trial(index, [0.5 + index / 3000] * 4, parameters=values) for index in range(1000)]
    run = summary(records, changes={"search.parameters": many, "freezing.phases": phases}, best=999)
    write_report(run, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.html.encode()) < 3_000_000
    assert "800 more are in trials.parquet" in page.text
    assert "The best 150 are shown" in page.text


def test_a_long_training_stays_small() -> None:
    run = summary([trial(scores=[0.5 + index / 10_000 for index in range(3000)])])
    assert len(report_of(run).encode()) < 1_000_000


def test_a_report_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Exception, match="No space left on device"):
        write_report(summary(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_report_does_not_import_matplotlib() -> None:
    program = "import json, sys, thaw_trainer.outputs.report; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "thaw_trainer" in loaded
    assert "matplotlib" not in loaded


def test_drawing_leaves_the_process_as_it_was() -> None:
    import matplotlib

    before, loaded = dict(matplotlib.rcParams), set(sys.modules)
    report_of(search_summary())
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules.keys() - loaded


def test_labels_of_boxes_stand_with_their_precision() -> None:
    run = summary()
    run.final["test"]["details"]["averagePrecision"] = {"<boat>": 0.25, "buoy": None}
    page = Page(report_of(run))
    assert "<h2>Labels</h2>" in page.html
    assert "&lt;boat&gt;" in page.html
    assert "0.2500" in page.html
    assert "<h2>Labels</h2>" not in Page(report_of(summary())).html
