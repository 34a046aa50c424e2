"""A trial whose frozen adapters are replayed is, bit for bit, the trial that computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.prefix.sites import HEAD, TOP
from tests.unit.prefix.test_cached_trials import REFREEZING, trained, without_prefix
from tests.unit.tiny_jobs import GRADUAL, TinyJob

LORA: dict[str, Any] = {"model.adapter": {"method": "lora", "rank": 2, "dropout": 0.2}}
DORA: dict[str, Any] = {"model.adapter": {"method": "dora", "rank": 2}}
IA3: dict[str, Any] = {"model.adapter": {"method": "ia3"}}


@pytest.mark.parametrize("adapter", [LORA, DORA, IA3], ids=["lora", "dora", "ia3"])
@pytest.mark.parametrize(
    ("schedule", "blocks"),
    [
        (HEAD, [3] * 4),
        (TOP, [2] * 4),
        (GRADUAL, [3, 2, 1, 0, 0]),
        (REFREEZING, [1] * 4),
        (TOP | {"training.precision": "bfloat16"}, [2] * 4),
        (TOP | {"model.dtype": "bfloat16"}, [2] * 4),
        (TOP | {"training.activationCheckpointing": True}, [2] * 4),
    ],
    ids=["head", "top", "gradual", "refreezing", "autocast", "bfloat16", "recomputed"],
)
def test_losses_and_metrics_are_the_same_bits(
    tiny: TinyJob, cache: Path, adapter: dict[str, Any], schedule: dict[str, Any], blocks: list[int]
) -> None:
    changes = adapter | schedule
    cached, computed = trained(tiny, changes, cache, "cached"), trained(tiny, changes, None, "computed")
    assert without_prefix(cached) == without_prefix(computed)
    assert [report["prefix"]["blocks"] for report in cached.reports] == blocks


def test_a_second_process_with_the_same_adapter_fills_nothing_and_one_with_another_does(
    tiny: TinyJob, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(tiny, LORA | TOP, cache, "first")
    monkeypatch.setattr("thaw_trainer.prefix.stock.fill", None)
    assert without_prefix(trained(tiny, LORA | TOP, cache, "second")) == without_prefix(first)
    # Another seed has other random tensors, which are multiplied by zeros.
    assert trained(tiny, LORA | TOP | {"training.seed": 5}, cache, "seed").reports[0]["prefix"]["blocks"] == 2
    with pytest.raises(TypeError):
        trained(tiny, DORA | TOP, cache, "other")
    with pytest.raises(TypeError):
        trained(tiny, TOP, cache, "none")
