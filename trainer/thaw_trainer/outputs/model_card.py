"""model/README.md: what the model is, for whoever finds it; its front matter is what the Hugging Face hub reads.

Front matter: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import math
from pathlib import Path
from typing import Any

import yaml

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_spec
from thaw_api.steps import COLUMN_FEATURES, last_step
from thaw_api.tasks import TASKS
from thaw_trainer.outputs import report_view as view
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.templates import render
from thaw_trainer.outputs.whole_file import write_whole_text
from thaw_trainer.outputs.wording import made_by, refined_texts

LISTED_LABELS = 200
_FEW_ROWS = 10
PIPELINE_TAGS = {
    "causal-lm": "text-generation",
    "face-recognition": "image-feature-extraction",
    "speech-recognition": "automatic-speech-recognition",
}
"""Our tasks that the hub calls otherwise."""
_HUB_METRICS = {
    "mcc": "matthews_correlation",
    "microF1": "f1",
    "macroF1": "f1",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
"""Our metrics that the hub calls otherwise."""


def write_model_card(summary: RunSummary, folder: Path) -> None:
    """Writes README.md beside the exported model.

    Raises:
        TrainerError: OutputNotWritable.
    """
    write_whole_text(folder / "README.md", card_of(summary))


def card_of(summary: RunSummary) -> str:
    """The model card; it needs a best trial."""
    assert summary.best is not None, "a run without a best trial has no model to describe"
    spec = trial_spec(summary.job.spec, summary.best.parameters)
    best, features = summary.best.best_report(), TASKS[spec.task].features
    instruction = last_step(spec.data.features, features, "instruction")
    metrics, classes, labels = view.metric_rows(summary), view.class_rows(summary), summary.facts.get("labels", [])
    return render(
        f"model_card/{spec.task}.md.jinja",
        front_matter=yaml.safe_dump(front_matter(summary, spec), sort_keys=False, allow_unicode=True),
        summary=summary,
        spec=spec,
        metrics=metrics,
        test_rows=view.test_rows(summary),
        # Only where a row is one answer: those of the words or tokens of a row depend on each other.
        error=_standard_error(metrics, view.test_rows(summary)) if summary.facts.get("classes") else None,
        baseline=view.baseline(summary),
        simple_model=view.simple_model(summary),
        made_columns=_made_columns(spec),
        labels=list(enumerate(labels))[:LISTED_LABELS],
        more_labels=len(labels[LISTED_LABELS:]),
        precisions=view.precision_rows(summary)[:LISTED_LABELS],
        rare=[row.label for row in classes if row.rows[2] < _FEW_ROWS],
        few_rows=_FEW_ROWS,
        best_epoch=best["epoch"] if best else None,
        phases=view.phase_rows(summary),
        calibration=summary.final.get("test", {}).get("calibration"),
        states=view.state_counts(summary),
        refined=refined_texts(summary.final.get("refined", {})),
        splits={name: summary.facts.get("counts", {}).get(name) for name in ("train", "validation", "test")},
        fingerprint=summary.facts.get("fingerprint"),
        manifest=view.manifest_text(summary),
        made_by=made_by(),
        library=summary.facts.get("library", "transformers"),
        sound_rate=summary.facts.get("sound", {}).get("rate"),
        image_channels=len(summary.facts.get("image", {}).get("mean", "rgb")),
        instruction=instruction.text if instruction else "",
        languages=last_step(spec.data.features, features, "languages"),
        environment=summary.facts.get("testEnvironment", {}),
        image_size=summary.facts.get("image", {}).get("size"),
    )


def _made_columns(spec: FineTuneJobSpec) -> str:
    """The steps that made columns of others, as the manifest writes them; empty without any."""
    steps = [step for step in spec.data.features or () if COLUMN_FEATURES.keys() & step.keys()]
    text: str = yaml.safe_dump(steps, sort_keys=False, allow_unicode=True)
    return text if steps else ""


def front_matter(summary: RunSummary, spec: FineTuneJobSpec) -> dict[str, Any]:
    """What the hub reads. It says nothing that the run does not know, such as a licence or a language."""
    metrics = [row for row in view.metric_rows(summary) if row.test is not None and math.isfinite(row.test)]
    matter: dict[str, Any] = {
        "library_name": summary.facts.get("library", "transformers"),
        "pipeline_tag": PIPELINE_TAGS.get(spec.task, spec.task),
        "tags": ["thaw", "fine-tuned"],
    }
    if spec.model.uri.startswith("hf:") and spec.model.init == "pretrained":
        matter["base_model"] = spec.model.uri.removeprefix("hf:").removeprefix("//").partition("@")[0]
    if metrics:
        matter["metrics"] = list(dict.fromkeys(_hub_name(row.name) for row in metrics if row.name != "loss"))
        matter["model-index"] = [{"name": summary.job.metadata.name, "results": [_results(metrics, spec)]}]
    return matter


def _results(metrics: list[view.MetricRow], spec: FineTuneJobSpec) -> dict[str, Any]:
    source = spec.data.test or spec.data.train
    file = Path(source.uri.partition(":")[2])
    return {
        "task": {"type": PIPELINE_TAGS.get(spec.task, spec.task), "name": spec.task.replace("-", " ").capitalize()},
        "dataset": {"name": file.name, "type": source.format or file.suffix.lstrip(".") or "table", "split": "test"},
        "metrics": [{"type": _hub_name(row.name), "name": row.name, "value": row.test} for row in metrics],
    }


def _hub_name(metric: str) -> str:
    return _HUB_METRICS.get(metric, metric)


def _standard_error(metrics: list[view.MetricRow], rows: int) -> float | None:
    """The binomial standard error of the test accuracy."""
    accuracy = next((row.test for row in metrics if row.name == "accuracy"), None)
    if accuracy is None or not math.isfinite(accuracy) or not rows:
        return None
    return math.sqrt(accuracy * (1 - accuracy) / rows)
