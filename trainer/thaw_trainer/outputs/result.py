"""result.json: the run for programs. Written last and at once, so that a result that is there is whole."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from thaw_trainer.outputs import report_view as view
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.whole_file import whole_file
from thaw_trainer.reporting.prefix_cache import prefix_cache_use
from thaw_trainer.search.journal import TrialRecord


def result_of(summary: RunSummary) -> dict[str, Any]:
    """The result as JSON; numbers that are not finite are null."""
    chosen = summary.job.spec.evaluation.metrics
    tested = summary.final.get("test", {})
    best, found = summary.best, tested.get("calibration")

    def is_chosen(metric: str) -> bool:
        return chosen is None or metric in chosen

    result: dict[str, Any] = {
        "status": summary.status,
        "job": summary.job.metadata.name,
        "task": summary.job.spec.task,
        "objective": {"metric": summary.metric, "mode": summary.mode},
        "best": _trial(best) | {"trial": best.name} if best else None,
        **summary.final.get("refined", {}),
        "test": {name: value for name, value in tested.get("metrics", {}).items() if is_chosen(name)},
        "testIntervals": {name: each for name, each in tested.get("intervals", {}).items() if is_chosen(name)},
        "calibration": {name: found[name] for name in ("temperature", "ece", "scaledEce")} if found else None,
        "labelErrors": summary.final.get("labelErrors"),
        "slices": [
            each | {"metrics": {name: value for name, value in each["metrics"].items() if is_chosen(name)}}
            for each in tested.get("slices", [])
        ],
        "trials": [_trial(record) for record in summary.records],
        "data": {
            "rows": summary.facts.get("counts", {}),
            "cleaning": summary.facts.get("cleaning", []),
            "suspects": summary.facts.get("suspects", []),
            "badRows": summary.facts.get("badRows", {"count": 0, "listed": []}),
            "classes": summary.facts.get("classes", {}),
            **{name: summary.facts[name] for name in ("tokens", "padding") if name in summary.facts},
            "fingerprint": summary.facts.get("fingerprint"),
        },
        "prefixCache": _prefix_cache(summary.records),
        "seconds": {name: round(value, 3) for name, value in summary.seconds.items()},
        "warnings": list(summary.warnings),
    }
    if "baseline" in summary.facts:
        result["baseline"] = summary.facts["baseline"]
    if samples := view.samples(summary):
        result["samples"] = samples
    if summary.failure:
        result["failure"] = summary.failure
    finite: dict[str, Any] = _finite(result)
    return finite


def write_result(summary: RunSummary, file: Path) -> dict[str, Any]:
    """Writes result.json and returns what it says; raises TrainerError OutputNotWritable."""
    result = result_of(summary)
    with whole_file(file) as unfinished, unfinished.open("w", encoding="utf-8") as opened:
        json.dump(result, opened, indent=2, ensure_ascii=False, allow_nan=False)
    return result


def _prefix_cache(records: Iterable[TrialRecord]) -> dict[str, Any]:
    use = prefix_cache_use(records)
    return {
        "hits": use.hits,
        "misses": use.misses,
        "bytes": use.bytes,
        "fillSeconds": round(use.fill_seconds, 3),
        "savedSeconds": round(use.saved_seconds, 3),
        "reasons": use.reasons,
    }


def _trial(record: TrialRecord) -> dict[str, Any]:
    best = record.best_report()
    trial: dict[str, Any] = {
        "name": record.name,
        "state": record.state,
        "parameters": record.parameters,
        "metrics": best["metrics"] if best else {},
        "epochs": len(record.reports),
        "bestEpoch": best["epoch"] if best else None,
        "seconds": round(sum(report["ended"] - report["started"] for report in record.reports), 3),
    }
    return trial | ({"failure": record.failure} if record.failure else {})


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
