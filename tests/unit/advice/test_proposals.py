"""What is proposed, what a job's schedule is taken for, and that none of it needs torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job, phase
from thaw_api import FineTuneJobSpec, InvalidManifest
from thaw_trainer.advice.catalogue import CATALOGUE
from thaw_trainer.advice.device import GPUS, find_device, measured_speed
from thaw_trainer.advice.manifest import stretches
from thaw_trainer.advice.question import Question, answer
from thaw_trainer.advice.work import Stretch

BERT = next(each.shape for each in CATALOGUE if each.uri.endswith("google-bert/bert-base-uncased"))


def spec(changes: dict[str, Any]) -> FineTuneJobSpec:
    return FineTuneJobSpec.model_validate(job(changes)["spec"])


def chosen(**said: Any) -> tuple[str, str]:
    given: dict[str, Any] = {"task": "text-classification", "rows": 2000, "teraflops": 1.0, "memory": "16Gi"}
    (best,) = [each for each in answer(Question(**(given | said))).proposals if each.proposed]
    return best.model.uri.rpartition("/")[2], str(best.proposed)


def test_the_largest_model_that_fits_is_proposed_and_everything_of_it_trained_if_that_fits() -> None:
    assert chosen(time="100h", memory="100Gi") == ("roberta-large", "all")
    assert chosen(time="100h", memory="5Gi")[1] == "all"
    assert chosen(time="100h", memory="1400M")[1] != "all"
    assert chosen(rows=20_000, time="1h", teraflops=0.1)[1] in ("head", "top-2")


def test_nothing_is_proposed_where_nothing_fits() -> None:
    found = answer(Question("text-classification", 2000, teraflops=1.0, memory="1M")).proposals
    assert not any(each.proposed for each in found)


def test_a_row_that_is_longer_than_a_model_reads_leaves_the_model_out() -> None:
    found = answer(Question("causal-lm", 100, length=4096, teraflops=1.0)).proposals
    assert {each.model.family for each in found} == {"llama", "qwen2"}


def test_an_output_layer_that_is_tied_is_no_way_to_train() -> None:
    ways = {
        each.model.uri.rpartition("/")[2]: {option.way for option in each.options}
        for each in answer(Question("causal-lm", 100, teraflops=1.0)).proposals
    }
    assert "head" not in ways["gpt2"]
    assert "head" in ways["pythia-160m"]


@pytest.mark.parametrize(
    ("freezing", "epochs", "wanted"),
    [
        ({}, 3, [(3, "all")]),
        ({"preset": "head-only"}, 3, [(3, "head")]),
        ({"preset": "last-n", "depth": 4}, 2, [(2, 4)]),
        ({"preset": "lp-ft"}, 4, [(2, "head"), (2, "all")]),
        ({"preset": "gradual", "depth": 2}, 5, [(1, "head"), (1, 1), (3, 2)]),
        ({"preset": "first-n", "depth": 2}, 1, [(1, "all")]),
        ({"phases": [phase(train=["head", "blocks[9:]"], until={"epochs": 1})]}, 3, [(3, 3)]),
        ({"phases": [phase(train=["blocks"], until={"plateau": {}})]}, 3, [(3, 12)]),
    ],
)
def test_a_schedule_is_its_phases(freezing: dict[str, Any], epochs: int, wanted: list[tuple[float, Any]]) -> None:
    found = stretches(spec({"freezing": freezing, "training.epochs": epochs}), BERT)
    assert found == tuple(Stretch(float(length), part) for length, part in wanted)


def test_a_jobs_rows_are_counted_and_its_schedule_and_trials_taken(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "a,b\n" * 200, encoding="utf-8")
    changes: dict[str, Any] = {
        "data.train": {"uri": "file:rows.csv"},
        "data.split": {"validation": 0.1, "test": 0.15},
        "freezing": {"preset": "last-n", "depth": 8},
        "search": {"trials": 4, "parameters": [{"path": "training.seed", "int": {"min": 0, "max": 9}}]},
    }
    found = answer(Question(teraflops=1.0), spec(changes), tmp_path)
    assert (found.work["rows"], found.work["trials"]) == (150, 4)
    assert {option.way for each in found.proposals for option in each.options} == {"manifest"}
    blocks = {each.model.shape.blocks for each in found.proposals}
    assert min(blocks) >= 8, "a model with fewer blocks than the schedule wants is left out"
    one = answer(Question(teraflops=1.0), spec(changes | {"search": {}}), tmp_path)
    assert found.proposals[0].options[0].seconds == pytest.approx(4 * one.proposals[0].options[0].seconds)


def test_rows_that_cannot_be_counted_are_asked_for() -> None:
    with pytest.raises(InvalidManifest, match=r"--rows: the rows of pvc://claim/rows\.csv cannot be counted"):
        answer(Question(teraflops=1.0), spec({"data.train": {"uri": "pvc://claim/rows.csv"}}), Path())


def test_an_adapter_of_a_job_counts() -> None:
    base = {"data.train": {"uri": "pvc://claim/rows.csv"}}
    plain, adapted = (
        answer(Question(rows=100, teraflops=1.0), spec(base | changes), Path()).proposals[0].options[0].cost
        for changes in ({}, {"model.adapter": {"method": "lora"}})
    )
    assert adapted.trained < plain.trained / 10
    assert adapted.operations < plain.operations


def test_devices_are_known_by_name_and_this_ones_speed_is_measured() -> None:
    assert find_device("H100", None, None) is GPUS["h100"]
    assert find_device("h100", None, 7.0).memory == 7.0
    assert find_device("t4", 3.0, None).float32 == 3e12
    assert 1e8 < measured_speed() < 1e14
    with pytest.raises(InvalidManifest, match="--device: must be cpu, gpu or one of t4"):
        find_device("tpu", None, None)


def test_neither_torch_nor_ray_is_imported() -> None:
    program = (
        "import sys\nfrom thaw_trainer.advice.question import Question, answer\n"
        "answer(Question('text-classification', 100))\n"
        "print(sorted({'torch', 'ray', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


def test_phases_whose_end_is_not_known_share_the_epochs_with_what_follows() -> None:
    phases = [
        {"name": "head", "train": ["head"], "until": {"plateau": {"patience": 1}}},
        {"name": "all", "train": ["all"], "until": {"fraction": 1.0}},
    ]
    found = stretches(spec({"freezing": {"phases": phases}, "training.epochs": 6}), BERT)
    assert [(each.epochs, each.part) for each in found] == [(3.0, "head"), (3.0, "all")]
