"""A trial that replays its prefix is, bit for bit, the trial that computes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from tests.unit.prefix.sites import HEAD, TOP, site
from tests.unit.tiny_jobs import GRADUAL, Run, TinyJob, run
from thaw_trainer.errors import PREFIX_NOT_CACHEABLE, TrainerError
from thaw_trainer.prefix.replay import Replay

REFREEZING = {
    "freezing": {
        "phases": [
            {"name": "top", "train": ["head", "blocks[-2:]"], "until": {"epochs": 2}},
            {"name": "head", "train": ["head"], "until": {"fraction": 1.0}},
        ]
    }
}


def trained(tiny: TinyJob, changes: dict[str, Any], cache: Path | None, name: str, **how: Any) -> Run:
    spec = tiny.spec(changes)
    shutil.rmtree(tiny.root / "checkpoints" / name, ignore_errors=True)
    return tiny.run(spec, name, prefix=site(tiny, spec, cache) if cache else None, **how)


def without_prefix(run: Run) -> list[dict[str, Any]]:
    return [{**report, "prefix": None} for report in run.reports]


@pytest.mark.parametrize(
    "changes",
    [
        HEAD,
        TOP,
        GRADUAL,
        TOP | {"training.gradientAccumulation": 2},
        TOP | {"training.precision": "bfloat16"},
        TOP | {"model.init": "random"},
        TOP | {"data.batching": {"tokensPerBatch": 128}, "training.gradientAccumulation": 2},
        REFREEZING,
    ],
    ids=["head", "top", "gradual", "accumulated", "bfloat16", "random-init", "tokens-per-batch", "refreezing"],
)
def test_losses_and_metrics_are_the_same_bits(tiny: TinyJob, cache: Path, changes: dict[str, Any]) -> None:
    cached, computed = trained(tiny, changes, cache, "cached"), trained(tiny, changes, None, "computed")
    assert without_prefix(cached) == without_prefix(computed)
    assert cached.reports[0]["prefix"]["blocks"] >= 1


def test_each_phase_replays_what_lies_below_it(tiny: TinyJob, cache: Path) -> None:
    told = [report["prefix"] for report in trained(tiny, GRADUAL, cache, "cached").reports]
    assert [each["blocks"] for each in told] == [3, 2, 1, 0, 0]
    assert all(each["rows"] == 42 + 12 for each in told)
    assert told[-1]["reason"] == "no frozen block is below what is trained"


def test_what_the_trial_has_trained_is_not_replayed(tiny: TinyJob, cache: Path) -> None:
    told = [report["prefix"] for report in trained(tiny, REFREEZING, cache, "cached").reports]
    assert [each["blocks"] for each in told] == [1, 1, 1, 1], "blocks 1 and 2 have moved; block 0 has not"


def test_a_second_process_fills_nothing(tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(tiny, TOP, cache, "first")
    monkeypatch.setattr("thaw_trainer.prefix.stock.survey", None)
    monkeypatch.setattr("thaw_trainer.prefix.stock.fill", None)
    assert without_prefix(trained(tiny, TOP, cache, "second")) == without_prefix(first)


def test_a_broken_entry_is_filled_again(tiny: TinyJob, cache: Path) -> None:
    first = trained(tiny, TOP, cache, "first")
    for file in cache.rglob("*-0.bin"):
        file.write_bytes(b"\x01" * file.stat().st_size)
    for facts in list(cache.rglob("entry.json"))[:1]:
        facts.write_text("{}", encoding="utf-8")
    assert without_prefix(trained(tiny, TOP, cache, "second")) == without_prefix(first)


def test_what_a_process_that_died_left_is_filled_again(tiny: TinyJob, cache: Path) -> None:
    first = trained(tiny, TOP, cache, "first")
    for marker in list(cache.rglob("parts/*.json"))[::2]:
        marker.unlink()
    assert without_prefix(trained(tiny, TOP, cache, "second")) == without_prefix(first)


def test_an_interrupted_trial_goes_on_with_the_cache(tiny: TinyJob, cache: Path) -> None:
    whole = trained(tiny, GRADUAL, None, "whole")
    spec = tiny.spec(GRADUAL)
    begun = trained(tiny, GRADUAL, cache, "parts", answer=lambda report: report["epoch"] < 2)
    rest = tiny.run(spec, "parts", prefix=site(tiny, spec, cache), reported=2)
    assert without_prefix(begun)[:2] + without_prefix(rest) == without_prefix(whole)


def test_frozen_blocks_do_not_run(tiny: TinyJob, cache: Path) -> None:
    trained(tiny, TOP, cache, "fills")
    spec = tiny.spec(TOP)
    task, calls = tiny.task(spec), [0, 0, 0]
    build = task.build

    def counted() -> torch.nn.Module:
        model: Any = build()
        for number, block in enumerate(model.bert.encoder.layer):

            def hook(*_: Any, number: int = number) -> None:
                calls[number] += 1

            block.attention.register_forward_hook(hook)
        return cast(torch.nn.Module, model)

    task.build = counted  # type: ignore[method-assign]
    shutil.rmtree(tiny.root / "checkpoints" / "counted", ignore_errors=True)
    run(task, spec, tiny.root / "checkpoints" / "counted", prefix=site(tiny, spec, cache))
    proof = 2  # two batches
    assert calls[0] == calls[1] == proof
    assert calls[2] > 10 * proof


def test_a_stand_in_that_leaks_is_found_and_refused(
    tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Replay._answer

    def leaking(self: Replay, name: str, compute: Any, *args: Any, **kwargs: Any) -> Any:
        if name.endswith("layer.1") and self._outputs is not None:
            return self._outputs["bert.encoder.layer.0"]  # NaN instead of what was recorded
        return answer(self, name, compute, *args, **kwargs)

    monkeypatch.setattr(Replay, "_answer", leaking)
    with pytest.raises(TrainerError, match="NaN") as caught:
        trained(tiny, TOP, cache, "leaking")
    assert caught.value.reason == PREFIX_NOT_CACHEABLE
    spec = tiny.spec(TOP)
    shutil.rmtree(tiny.root / "checkpoints" / "auto", ignore_errors=True)
    auto = site(tiny, spec, cache, mode="auto")
    told = tiny.run(spec, "auto", prefix=auto)
    assert "NaN" in told.reports[0]["prefix"]["reason"] or "pay" in told.reports[0]["prefix"]["reason"]
    assert without_prefix(told) == without_prefix(trained(tiny, TOP, None, "computed"))


def test_a_budget_that_is_too_small_is_a_reason(tiny: TinyJob, cache: Path) -> None:
    spec = tiny.spec(TOP)
    with pytest.raises(TrainerError, match=r"budget is \d+ bytes too small"):
        tiny.run(spec, "small", prefix=site(tiny, spec, cache, budget=1000))


def test_a_folder_that_cannot_be_written_is_a_reason(tiny: TinyJob, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    spec = tiny.spec(TOP)
    shutil.rmtree(tiny.root / "checkpoints" / "nowhere", ignore_errors=True)
    told = tiny.run(spec, "nowhere", prefix=site(tiny, spec, tmp_path / "file" / "cache", mode="auto"))
    assert "disk" in told.reports[0]["prefix"]["reason"]
