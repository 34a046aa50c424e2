"""trials.parquet: every trial and epoch as a table, for notebooks."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from thaw_api.job import FineTuneJobSpec
from thaw_api.schema_model import Scalar
from thaw_api.search_space import searched_values
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.whole_file import whole_file
from thaw_trainer.search.journal import TrialRecord

_COLUMNS = {
    "trial": pa.string(),
    "state": pa.string(),
    "epoch": pa.int64(),
    "phase": pa.string(),
    "trainLoss": pa.float64(),
    "seconds": pa.float64(),
    "trainable": pa.int64(),
    "total": pa.int64(),
    "bestEpoch": pa.int64(),
}


def write_trials(summary: RunSummary, file: Path) -> None:
    """Writes one row for each trial and epoch; a trial that reported nothing has one row with nulls.

    `bestEpoch` is the trial's best epoch of all, in each of its rows: `epoch == bestEpoch` picks one row a trial.

    Raises:
        TrainerError: OutputNotWritable.
    """
    with whole_file(file) as unfinished:
        pq.write_table(trial_table(summary), unfinished)


def trial_table(summary: RunSummary) -> pa.Table:
    """The table; its columns and their types depend on the job alone, not on what the trials did."""
    schema = _schema(summary)
    rows = [row for record in summary.records for row in _rows(record, schema)]
    return pa.Table.from_pylist(rows, schema=schema)


def _schema(summary: RunSummary) -> pa.Schema:
    seen = (name for record in summary.records for report in record.reports for name in report["metrics"])
    metrics = dict.fromkeys([*summary.job.spec.task_entry.metrics, *seen])
    return pa.schema(
        _COLUMNS
        | {f"metric.{name}": pa.float64() for name in metrics}
        | {f"parameter.{path}": kind for path, kind in _parameter_types(summary.job.spec).items()}
    )


def _parameter_types(spec: FineTuneJobSpec) -> dict[str, pa.DataType]:
    """A type for each searched path that holds for every value that the search may give it."""
    return {
        parameter.path: pa.float64() if all(map(_is_number, searched_values(parameter))) else pa.string()
        for parameter in spec.search.parameters or ()
    }


def _rows(record: TrialRecord, schema: pa.Schema) -> list[dict[str, Any]]:
    best = record.best_report()
    of_trial: dict[str, Any] = {
        "trial": record.name,
        "state": record.state,
        "bestEpoch": best["epoch"] if best else None,
    }
    for path, value in record.parameters.items():
        column = f"parameter.{path}"
        of_trial[column] = float(value) if pa.types.is_float64(schema.field(column).type) else _text(value)
    return [of_trial | _of_epoch(report) for report in record.reports] or [of_trial]


def _of_epoch(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": report["epoch"],
        "phase": report["phase"],
        "trainLoss": report["train_loss"],
        "seconds": report["ended"] - report["started"],
        "trainable": report["trainable"],
        "total": report["total"],
    } | {f"metric.{name}": value for name, value in report["metrics"].items()}


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
