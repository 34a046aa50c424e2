"""Parts of the test rows, each measured by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.tiny_jobs import TinyJob
from thaw_api.cluster import SliceSpec
from thaw_trainer.data.examples import ROW, TEST_ROWS
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError
from thaw_trainer.evaluation.slices import measure_slices, slice_rows
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.text_classification import KIND
from thaw_trainer.uris import UriRoots

TABLE = pa.table({"text": ["a", "bb", "ccc"], "year": ["2001", None, "2003"], ROW: [4, 7, 9]})


def slices(*conditions: str) -> list[SliceSpec]:
    return [SliceSpec(name=f"slice {index}", where=where) for index, where in enumerate(conditions)]


def test_a_slice_has_the_rows_that_its_condition_holds_for() -> None:
    found = slice_rows(slices("length(text) > 1", "CAST(year AS INT) < 2002"), TABLE)
    assert {name: ids.tolist() for name, ids in found.items()} == {"slice 0": [7, 9], "slice 1": [4]}


@pytest.mark.parametrize(
    ("where", "reason", "says"),
    [
        ("length(text) > 9", DATA_INVALID, "slice 'slice 1' has none of the 3 test rows"),
        ("colour = 'red'", COLUMN_NOT_FOUND, "the data has no column 'colour'"),
        (f"{ROW} > 1", COLUMN_NOT_FOUND, "it has text, year"),
        ("text >", DATA_INVALID, "is no condition"),
    ],
)
def test_a_slice_that_is_none_is_refused_by_its_field(where: str, reason: str, says: str) -> None:
    with pytest.raises(TrainerError) as refused:
        slice_rows(slices("text = 'a'", where), TABLE)
    assert (refused.value.reason, refused.value.field) == (reason, "spec.evaluation.slices[1].where")
    assert says in refused.value.message


def test_each_slice_is_measured_by_its_rows_alone() -> None:
    predictions = {"id": np.asarray([4, 7, 7, 9]), "hit": np.asarray([1.0, 0.0, 1.0, 1.0])}

    def metrics(rows: dict[str, Any]) -> dict[str, float]:
        return {"accuracy": float(rows["hit"].mean())}

    rows = {"both": np.asarray([4, 7]), "gone": np.asarray([5])}
    assert measure_slices(rows, predictions, metrics) == [
        {"name": "both", "rows": 2, "metrics": {"accuracy": pytest.approx(2 / 3)}},
        {"name": "gone", "rows": 0, "metrics": {}},
    ]


def test_a_store_has_the_columns_of_its_test_rows(tmp_path: Any) -> None:
    job = TinyJob(tmp_path)
    store = PreparedStore(job.store(job.spec()))
    lines = (tmp_path / "train.csv").read_text().splitlines()[1:]
    table = store.table(TEST_ROWS).to_pylist()
    assert sorted(each[ROW] for each in table) == sorted(store.table("test")["id"].to_pylist())
    assert all(lines[each[ROW]] == f"{each['text']},{each['label']}" for each in table)


def test_a_slice_without_rows_is_refused_before_training(tmp_path: Any) -> None:
    job = TinyJob(tmp_path)
    spec = job.spec({"evaluation.slices": [{"name": "none", "where": "label = 'pink'"}]})
    with pytest.raises(TrainerError, match="has none of the"):
        prepare_job(spec, KIND, JobFiles(UriRoots(tmp_path), tmp_path / "stores"))
