"""Nothing that is fitted, trained or chosen depends on the test rows: not one bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.unit.tiny_causal import CausalJob, documents, write_jsonl
from tests.unit.tiny_jobs import TinyJob, labelled_texts, run, write_csv
from tests.unit.tiny_models import WORDS
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.loop.checkpoint import Checkpoints

OF_TEST = {"counts", "rows", "classes", "fingerprint", "cleaning", "badRows", "suspects", "modelFolder"}
"""Facts that only tell what there is; that none but these depends on test rows is what is tested."""

CLEANED: dict[str, Any] = {
    "data.clean": [
        {"normalize": {}},
        {"dropMissing": {}},
        {"dropDuplicates": {}},
        {"dropNearDuplicates": {}},
        {"textLength": {"min": 1}},
    ],
    "training.earlyStopping": {"patience": 1},
    "search.objective": {"metric": "loss"},
}


def job_with(root: Path, test: list[tuple[str, str]]) -> TinyJob:
    rows = labelled_texts(90)
    tiny = TinyJob(root, rows[:60])
    write_csv(root / "validation.csv", rows[60:])
    write_csv(root / "test.csv", test)
    return tiny


def long_texts() -> list[tuple[str, str]]:
    """Other rows than those of `labelled_texts`, each longer than any of them, of one class only, some of them
    training rows and repeated."""
    random = np.random.default_rng(5)
    texts = [(" ".join(random.choice(WORDS[3:], size=60)), "red") for _ in range(25)]
    return [*texts, *texts[:3], *labelled_texts(90)[:5]]


def test_other_test_rows_change_no_fitted_value_no_weight_and_no_choice(tmp_path: Path) -> None:
    stores, runs, weights = [], [], []
    for name, test in (("first", labelled_texts(120, seed=9)[90:]), ("second", long_texts())):
        tiny = job_with(tmp_path / name, test)
        sources = {f"data.{split}": {"uri": f"file:{split}.csv"} for split in ("validation", "test")}
        spec = tiny.spec(CLEANED | sources | {"training.epochs": 6})
        task = tiny.task(spec)
        stores.append(task.store)
        folder = tmp_path / name / "trial"
        runs.append(run(task, spec, folder))
        weights.append(load_file(Checkpoints(folder).best_file(runs[-1].reports[-1]["best_epoch"])))
    first, second = stores
    assert not first.table("test").equals(second.table("test")), "the test rows do differ"
    same_but_for_test(first, second)
    assert runs[0].losses == runs[1].losses
    assert runs[0].metrics == runs[1].metrics
    assert [report["best_epoch"] for report in runs[0].reports] == [report["best_epoch"] for report in runs[1].reports]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("strategy", ["bucket", "pack"])
def test_other_test_texts_change_no_store_of_a_causal_model(tmp_path: Path, strategy: str) -> None:
    stores = []
    for name, test in (("first", documents(20, seed=9)), ("second", [" ".join(documents(40, seed=4))])):
        root = tmp_path / name
        tiny = CausalJob(root, [{"text": text} for text in documents(60)])
        write_jsonl(root / "validation.jsonl", [{"text": text} for text in documents(12, seed=2)])
        write_jsonl(root / "test.jsonl", [{"text": text} for text in test])
        sources = {f"data.{split}": {"uri": f"file:{split}.jsonl"} for split in ("validation", "test")}
        batching = {"data.batching": {"strategy": strategy, "maxLength": 128}}
        stores.append(PreparedStore(tiny.store(tiny.spec(sources | batching))))
    first, second = stores
    for facts in (first.facts, second.facts):
        for told in ("measuredWidths", "tokens", "padding", "baseline"):
            found = facts.get(told)
            if isinstance(found, dict):
                found.pop("test", None)
    same_but_for_test(first, second)
    assert first.facts["widths"] == second.facts["widths"]


def same_but_for_test(first: PreparedStore, second: PreparedStore) -> None:
    assert first.facts.keys() == second.facts.keys()
    classes = [store.facts["widths"] for store in (first, second)]
    assert classes[1][: len(classes[0])] == classes[0], "one more class, for rows longer than any of train, at most"
    differing = {name for name in first.facts if first.facts[name] != second.facts[name]} - {"widths"}
    assert differing <= OF_TEST, differing - OF_TEST
    for split in ("train", "validation"):
        assert first.table(split).equals(second.table(split)), split
