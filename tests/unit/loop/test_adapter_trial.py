"""Trials with an adapter: only it and the head move, and all else that a trial can do goes on as ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.unit.tasks.pair_verification import ENTRY, PairVerification, verification_spec
from tests.unit.tiny_jobs import GRADUAL, Killed, TinyJob, die_after, run
from thaw_api.tasks import TASKS
from thaw_trainer.freezing.layout import Layout, find_layout
from thaw_trainer.freezing.schedule import resolve_schedule
from thaw_trainer.loop.pristine import pristine_model
from thaw_trainer.models.adapter import is_adapters

REPOSITORY = Path(__file__).resolve().parents[3]
LORA: dict[str, Any] = {"model.adapter": {"method": "lora", "rank": 2, "dropout": 0.1}}
DORA: dict[str, Any] = {"model.adapter": {"method": "dora", "rank": 2}}
IA3: dict[str, Any] = {"model.adapter": {"method": "ia3"}}
METHODS = [pytest.param(LORA, id="lora"), pytest.param(DORA, id="dora"), pytest.param(IA3, id="ia3")]
TOP: dict[str, Any] = {"freezing": {"preset": "last-n", "depth": 2}, "training.epochs": 2}
RESTORING: dict[str, Any] = {
    "freezing": {
        "phases": [
            {"name": "head", "train": ["head"], "until": {"epochs": 1}},
            {"name": "top", "train": ["head", "blocks[-2:]"], "until": {"epochs": 1}, "restoreBest": True},
            {"name": "all", "train": ["all"], "until": {"fraction": 1.0}, "restoreBest": True},
        ]
    }
}


@pytest.fixture(autouse=True)
def _listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "reinforcement-learning", ENTRY)


def layout_of(tiny: TinyJob, changes: dict[str, Any]) -> Layout:
    spec = tiny.spec(changes)
    return find_layout(pristine_model(tiny.task(spec), spec))


@pytest.mark.parametrize("adapter", METHODS)
@pytest.mark.parametrize("schedule", [{}, GRADUAL, TOP], ids=["all", "gradual", "top"])
def test_each_phase_moves_the_adapters_of_its_blocks_and_the_head(
    tiny: TinyJob, folder: str, adapter: dict[str, Any], schedule: dict[str, Any]
) -> None:
    spec = tiny.spec(adapter | schedule)
    task = tiny.task(spec)
    pristine = {name: each.clone() for name, each in pristine_model(tiny.task(spec), spec).named_parameters()}
    told = run(task, spec, Path(folder))
    phases = {
        phase.name: phase.train for phase in resolve_schedule(spec.freezing, spec.training, layout_of(tiny, adapter))
    }
    before = pristine
    for report, after in zip(told.reports, task.snapshots, strict=True):
        moved = {name for name in pristine if not torch.equal(before[name], after[name])}
        assert moved == phases[report["phase"]]
        before = after
    base = {name for name in pristine if not is_adapters(name) and not name.startswith(("classifier", "bert.pooler"))}
    assert len(base) == 3 * 16 + 5
    assert all(torch.equal(pristine[name], before[name]) for name in base)


def test_gradual_thawing_has_a_phase_for_each_block_and_none_for_the_stem(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(LORA | GRADUAL), folder)
    assert [report["phase"] for report in told.reports] == ["head", "top-1", "top-2", "top-3", "top-3"]
    assert told.reports[0]["warnings"] == []
    assert told.reports[-1]["trainable"] == sum(layout_of(tiny, LORA).size.values())


def test_reports_count_the_whole_model(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(LORA | {"training.epochs": 1}), folder)
    whole = sum(tensor.numel() for tensor in tiny.task(tiny.spec()).build().parameters())
    linear = 3 * (4 * 2 * (16 + 16) + 2 * 2 * (16 + 24))  # query, key, value, output; the two layers behind them
    assert told.reports[0]["total"] == whole + linear
    head = 16 * 16 + 16 + 3 * 16 + 3
    assert told.reports[0]["trainable"] == linear + head


def test_a_checkpoint_holds_what_is_trained_and_nothing_of_the_base(tiny: TinyJob, folder: str) -> None:
    tiny.run(tiny.spec(LORA | TOP), folder)
    saved = load_file(Path(folder) / "epoch-0002" / "weights.safetensors")
    layout = layout_of(tiny, LORA)
    assert saved.keys() == set(layout.names(1, 3))
    moments = load_file(Path(folder) / "epoch-0002" / "optimizer.safetensors")
    assert {key.partition("/")[2] for key in moments} == saved.keys()


@pytest.mark.parametrize("adapter", METHODS)
@pytest.mark.parametrize("schedule", [GRADUAL, RESTORING], ids=["gradual", "restore-best"])
def test_a_trial_goes_on_bit_for_bit_after_its_process_died(
    tiny: TinyJob, tmp_path: Path, adapter: dict[str, Any], schedule: dict[str, Any]
) -> None:
    spec = tiny.spec(adapter | schedule)
    whole = tiny.run(spec, str(tmp_path / "whole"))
    for epoch in (1, 2, 3):
        with pytest.raises(Killed):
            tiny.run(spec, str(tmp_path / "cut"), answer=die_after(epoch), reported=epoch - 1)
    rest = tiny.run(spec, str(tmp_path / "cut"), reported=3)
    assert rest.reports == whole.reports[3:]


def test_another_process_with_other_hashes_draws_the_same_adapter(tiny: TinyJob, tmp_path: Path) -> None:
    """peft keeps names in sets, whose order another process does not share."""
    changes = LORA | {"training.epochs": 1}
    here = tiny.run(tiny.spec(changes), str(tmp_path / "here"))
    fresh = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.unit.loop.fresh_process",
            str(tiny.root),
            str(tmp_path / "fresh"),
            json.dumps(changes),
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert json.loads(fresh.stdout.splitlines()[-1]) == here.reports


def test_an_adapters_numbers_do_not_depend_on_the_heads_size(tiny: TinyJob) -> None:
    spec = tiny.spec(LORA)
    task, other = tiny.task(spec), tiny.task(spec)
    other.labels = [*other.labels, "mauve"]
    first, second = (dict(pristine_model(each, spec).named_parameters()) for each in (task, other))
    adapters = [name for name in first if ".lora_A." in name]
    assert adapters
    assert all(torch.equal(first[name], second[name]) for name in adapters)
    assert first["classifier.weight"].shape != second["classifier.weight"].shape


@pytest.mark.parametrize("adapter", METHODS)
def test_recomputing_activations_changes_no_loss(tiny: TinyJob, tmp_path: Path, adapter: dict[str, Any]) -> None:
    plain = tiny.run(tiny.spec(adapter | TOP), str(tmp_path / "plain"))
    recomputed = tiny.run(
        tiny.spec(adapter | TOP | {"training.activationCheckpointing": True}), str(tmp_path / "again")
    )
    assert recomputed.losses == plain.losses


@pytest.mark.parametrize("adapter", METHODS)
def test_compiled_blocks_train_as_uncompiled_ones(still: TinyJob, tmp_path: Path, adapter: dict[str, Any]) -> None:
    changes = adapter | {
        "freezing": {"preset": "last-n", "depth": 1},
        "training.epochs": 1,
        "training.optimizer": {"name": "sgd", "lr": 0.01},
    }
    plain = still.run(still.spec(changes), str(tmp_path / "plain"))
    compiled = still.run(still.spec(changes | {"training.compile": True}), str(tmp_path / "compiled"))
    assert compiled.losses[0] == pytest.approx(plain.losses[0], abs=1e-4)


def test_a_bfloat16_model_is_trained(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(LORA | {"model.dtype": "bfloat16", "training.epochs": 3}), folder)
    assert told.reports[-1]["train_loss"] < told.reports[0]["train_loss"]


def test_any_task_has_adapters(tmp_path: Path) -> None:
    spec = verification_spec(LORA | {"training.epochs": 2})
    task = PairVerification(spec)
    told = run(task, spec, tmp_path)
    first, last = task.snapshots[0], task.snapshots[-1]
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    assert {name for name in moved if ".lora_" not in name} == {"head.weight", "head.bias", "norm.weight", "norm.bias"}
    assert {name.partition(".lora_")[0] for name in moved if ".lora_" in name} == {f"blocks.{n}.0" for n in range(3)}
    assert told.reports[0]["trainable"] < told.reports[0]["total"]


class Reading(nn.Module):
    """A block that reads the weight of its layer without calling it, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.called, self.read = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.called(nn.functional.linear(x, self.read.weight)))


class ReadingVerification(PairVerification):
    """Pairs, with such blocks."""

    def build(self) -> nn.Module:
        """See Task."""
        model: Any = super().build()
        model.blocks = nn.ModuleList([Reading() for _ in range(3)])
        return model  # type: ignore[no-any-return]


@pytest.mark.parametrize(("schedule", "layers"), [({}, 3), ({"freezing": {"preset": "last-n", "depth": 1}}, 1)])
def test_an_adapter_that_cannot_learn_is_told(tmp_path: Path, schedule: dict[str, Any], layers: int) -> None:
    spec = verification_spec(LORA | schedule | {"training.epochs": 2})
    for report in run(ReadingVerification(spec), spec, tmp_path).reports:
        (told,) = report["warnings"]
        assert told.startswith(f"adapters of {layers} layers had no gradient: the model does not call blocks.")
        assert "blocks.2.read" in told
        assert "called" not in told


def test_nothing_is_told_of_adapters_that_learn(tiny: TinyJob, folder: str) -> None:
    told = tiny.run(tiny.spec(LORA | GRADUAL), folder)
    assert [report["warnings"] for report in told.reports] == [[]] * 5
