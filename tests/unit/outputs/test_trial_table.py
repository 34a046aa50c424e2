"""trials.parquet: one row for each trial and epoch, with types that depend on the job alone."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.manifests import parameter
from tests.unit.outputs.summaries import LR, SEARCHED, failed_summary, search_summary, searched, summary, trial
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError
from thaw_trainer.outputs.summary import RunSummary
from thaw_trainer.outputs.trial_table import trial_table, write_trials


def rows(run: RunSummary) -> list[dict[str, Any]]:
    """The table's rows."""
    found: list[dict[str, Any]] = trial_table(run).to_pylist()
    return found


def test_each_trial_and_epoch_has_a_row_in_order(tmp_path: Path) -> None:
    run = search_summary()
    write_trials(run, tmp_path / "trials.parquet")
    table = pq.read_table(tmp_path / "trials.parquet").to_pylist()
    expected = [(record.name, epoch) for record in run.records for epoch in range(1, len(record.reports) + 1) or [None]]
    assert [(row["trial"], row["epoch"]) for row in table] == expected


def test_a_row_says_what_the_epoch_reported() -> None:
    run = search_summary()
    report = run.records[1].reports[2]
    row = next(row for row in rows(run) if (row["trial"], row["epoch"]) == ("trial-0001", 3))
    assert row == {
        "trial": "trial-0001",
        "state": "succeeded",
        "epoch": 3,
        "phase": "top-1",
        "trainLoss": report["train_loss"],
        "seconds": 8.5,
        "trainable": 2000,
        "total": 20000,
        "bestEpoch": 2,
        **{f"metric.{name}": value for name, value in report["metrics"].items()},
        f"parameter.{LR}": 1e-3,
        "parameter.training.labelSmoothing": 0.1,
        "parameter.training.batchSize": 9.0,
    }


def test_a_trial_that_reported_nothing_has_one_row_with_its_values_and_nulls() -> None:
    (row,) = (row for row in rows(search_summary()) if row["trial"] == "trial-0004")
    assert row["state"] == "failed"
    assert row[f"parameter.{LR}"] == 9e-3
    given = {"trial", "state", *(f"parameter.{each['path']}" for each in SEARCHED)}
    assert all(row[name] is None for name in row.keys() - given)


def test_columns_and_types_do_not_depend_on_what_the_trials_did() -> None:
    empty = summary([], changes={"search.parameters": SEARCHED}, best=None)
    assert trial_table(search_summary()).schema == trial_table(failed_summary()).schema == trial_table(empty).schema


def test_numbers_are_numbers_also_where_one_choice_is_whole_and_mixed_choices_are_text() -> None:
    path = "freezing.phases[0].train[0]"
    parameters = [
        parameter("training.optimizer.weightDecay", choice={"values": [0, 0.1]}),
        parameter(path, choice={"values": ["head", "all"]}),
    ]
    phases = [{"name": "all", "train": ["head"], "until": {"fraction": 1.0}}]
    record = trial(parameters={"training.optimizer.weightDecay": 0, path: "all"})
    table = trial_table(summary([record], changes={"search.parameters": parameters, "freezing.phases": phases}))
    assert table.schema.field("parameter.training.optimizer.weightDecay").type == pa.float64()
    assert table.schema.field(f"parameter.{path}").type == pa.string()
    assert table[f"parameter.{path}"].to_pylist() == ["all"] * 3


def test_the_best_epoch_picks_one_row_of_each_trial_that_has_one() -> None:
    best = [
        (row["trial"], row["metric.accuracy"]) for row in rows(search_summary()) if row["epoch"] == row["bestEpoch"]
    ]
    assert [pair for pair in best if pair[1] is not None] == [
        ("trial-0000", 0.65),
        ("trial-0001", 0.8),
        ("trial-0002", 0.4),
        ("trial-0003", 0.35),
    ]


def test_a_metric_that_is_not_a_number_is_not_the_same_as_none() -> None:
    (row,) = rows(summary([trial(scores=[math.nan])], best=None))
    assert math.isnan(row["metric.accuracy"])
    assert row["bestEpoch"] is None


def test_the_table_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "trials.parquet"
    write_trials(summary(), file)
    write_trials(summary([searched(0, 1e-3, [0.5])], changes={"search.parameters": SEARCHED}), file)
    assert pq.read_table(file).num_rows == 1
    assert list(tmp_path.iterdir()) == [file]


def test_a_disk_that_is_full_is_an_error_about_the_output_and_the_older_table_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "trials.parquet"
    write_trials(summary(), file)
    before = file.read_bytes()

    def full(_: pa.Table, place: Path) -> None:
        place.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(TrainerError) as caught:
        write_trials(search_summary(), file)
    assert caught.value.reason == OUTPUT_NOT_WRITABLE
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
