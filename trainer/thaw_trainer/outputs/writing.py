"""All outputs of a run, the result last."""

import json
import shutil
from pathlib import Path
from typing import Any

from thaw_trainer.loop.checkpoint import writing
from thaw_trainer.outputs.folder import OutputFolder
from thaw_trainer.outputs.model_card import write_model_card
from thaw_trainer.outputs.report import write_report
from thaw_trainer.outputs.result import write_result
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.trial_table import write_trials


def write_outputs(summary: RunSummary, output: OutputFolder) -> dict[str, Any]:
    """Writes everything, the result last; then the checkpoints are of no more use."""
    with writing(output.root):
        write_trials(summary, output.trials)
        write_report(summary, output.report)
        if summary.best:
            write_model_card(summary, output.unfinished_model)
            _write_calibration(summary, output.unfinished_model)
            shutil.rmtree(output.model, ignore_errors=True)
            output.unfinished_model.rename(output.model)
    result = write_result(summary, output.result)
    if summary.best:
        shutil.rmtree(output.root / "checkpoints", ignore_errors=True)
    return result


def _write_calibration(summary: RunSummary, model: Path) -> None:
    """What a classifier's logits are to be divided by, beside its weights."""
    found = summary.final["test"].get("calibration")
    if found:
        told = {name: found[name] for name in ("temperature", "ece", "scaledEce")}
        (model / "calibration.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
