"""What `thaw plan` says of each phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.tiny_jobs import TinyJob
from thaw_api.triggers import UntilSpec
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.freezing.wording import until_text
from thaw_trainer.planning import plan_job


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A job with a model of 3 blocks."""
    return TinyJob(tmp_path_factory.mktemp("job"))


def planned(tiny: TinyJob, scratch: Path, **phase: Any) -> dict[str, Any]:
    fields = {"name": "p", "train": ["all"], "until": {"fraction": 1.0}, **phase}
    plan = plan_job(tiny.spec({"freezing": {"phases": [fields]}}), tiny.root, scratch)
    found: dict[str, Any] = plan["phases"][0]
    return found


def test_rates_are_listed_from_the_highest_with_what_has_them(tiny: TinyJob, tmp_path: Path) -> None:
    groups = [{"select": ["embeddings"], "base": 1e-5}]
    phase = planned(tiny, tmp_path, lr={"base": 0.008, "decay": 2.0, "groups": groups})
    assert phase["lr"] == "1e-05 to 0.008"
    found = [(rate["lr"], rate["in"]) for rate in phase["rates"]]
    assert found == [
        (0.008, ["head"]),
        (0.004, ["block 2"]),
        (0.002, ["block 1"]),
        (0.001, ["block 0"]),
        (0.0005, ["stem"]),
        (1e-5, ["stem"]),
    ]
    assert sum(rate["parameters"] for rate in phase["rates"]) == phase["parameters"]
    assert sum(rate["tensors"] for rate in phase["rates"]) == phase["tensors"]


def test_a_rotation_counts_what_one_turn_trains(tiny: TinyJob, tmp_path: Path) -> None:
    rotate = {"blocks": 2, "every": {"steps": 20}, "order": "ascending"}
    phase = planned(tiny, tmp_path, train=["head", "blocks"], rotate=rotate)
    layout = find_layout(tiny.task(tiny.spec()).build())
    assert phase["parameters"] == sum(layout.size[name] for name in [*layout.names(0, 1), *layout.names(3, 3)])
    heads = len(layout.names(3, 3))
    assert phase["rotation"] == f"2 of 3 blocks, from the bottom up, 20 steps a turn; {heads} tensors in every turn"
    assert phase["frozenBelow"] == "stem"


def test_settings_of_a_phase_are_told(tiny: TinyJob, tmp_path: Path) -> None:
    own = {"restoreBest": True, "schedule": "cosine", "warmup": 0.1, "weightDecay": 0.5, "optimizerState": "fresh"}
    assert planned(tiny, tmp_path, **own)["settings"] == [
        "from the best epoch so far",
        "rate cosine over the phase",
        "warm-up 10% of the phase",
        "weight decay 0.5",
        "fresh moments",
    ]
    assert planned(tiny, tmp_path, warmup=1)["settings"] == ["warm-up 1 step"]
    assert planned(tiny, tmp_path)["settings"] == []


def test_what_goes_on_in_frozen_modules_is_told(tiny: TinyJob, tmp_path: Path) -> None:
    plan = plan_job(tiny.spec({"freezing": {"preset": "head-only", "frozenNorms": "train"}}), tiny.root, tmp_path)
    assert plan["frozen"] == {"norms": "train", "dropout": "off"}


def test_an_adapter_is_counted_beside_the_model_that_it_is_put_on(tiny: TinyJob, tmp_path: Path) -> None:
    plain = plan_job(tiny.spec(), tiny.root, tmp_path / "plain")["model"]
    spec = tiny.spec({"model.adapter": {"method": "lora", "rank": 2}, "freezing": {"preset": "last-n", "depth": 1}})
    plan = plan_job(spec, tiny.root, tmp_path / "adapter")
    model, (phase,) = plan["model"], plan["phases"]
    block = 4 * 2 * (16 + 16) + 2 * 2 * (16 + 24)
    assert plain["adapter"] is None
    assert model["adapter"] == {"method": "lora", "rank": 2, "parameters": 3 * block, "tensors": 3 * 6 * 2}
    assert (model["stem"], model["head"], model["blocks"]) == (plain["stem"], plain["head"], plain["blocks"])
    assert model["parameters"] == plain["parameters"] + 3 * block
    assert model["tensors"] == plain["tensors"] + 3 * 6 * 2
    assert phase["parameters"] == plain["head"] + block
    assert phase["share"] == phase["parameters"] / model["parameters"]
    assert phase["frozenBelow"] == "stem and 2 blocks"


@pytest.mark.parametrize(
    ("until", "text"),
    [
        ({"epochs": 1}, "1 epoch"),
        ({"steps": 500}, "500 steps"),
        ({"fraction": 0.5, "epochs": 2}, "2 epochs or 50% of the epochs"),
        ({"plateau": {}}, "no gain for 1 epoch"),
        ({"plateau": {"metric": "loss", "patience": 2}}, "no gain in loss for 2 epochs"),
        ({"metric": {"above": 0.9}}, "objective above 0.9"),
        ({"metric": {"name": "loss", "below": 0}}, "loss below 0"),
        ({"time": "1h30m"}, "1h30m"),
        ({"epochs": 9, "all": [{"epochs": 3}, {"plateau": {}}]}, "9 epochs or (3 epochs and no gain for 1 epoch)"),
    ],
)
def test_triggers_are_told_in_words(until: dict[str, Any], text: str) -> None:
    assert until_text(UntilSpec.model_validate(until)) == text
