from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.freezing.test_schedule import freezing, resolved, training
from tests.unit.freezing.test_selectors import layout_of
from thaw_trainer.errors import SCHEDULE_INVALID, SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.schedule import Phase, resolve_schedule

WEIGHTS = ["embed.weight", *(f"layers.{number}.weight" for number in range(4)), "head.weight"]


def one(train: list[str], **lr: Any) -> Phase:
    (phase,) = resolved({"train": train, "lr": lr}, lr=0.1)
    return phase


def test_lowest_spreads_the_rates_geometrically_from_place_to_place() -> None:
    phase = one(["all"], base=0.4, lowest=0.001)
    assert [phase.lr[name] for name in WEIGHTS] == pytest.approx(np.geomspace(0.001, 0.4, 6))


def test_lowest_is_that_of_the_lowest_that_is_trained() -> None:
    phase = one(["blocks[1:]"], lowest=0.025)
    assert [phase.lr[name] for name in WEIGHTS[2:5]] == pytest.approx([0.025, 0.05, 0.1])


def test_a_single_place_has_the_base_whatever_is_lowest() -> None:
    assert set(one(["head"], lowest=1e-4).lr.values()) == {0.1}


def test_a_group_has_its_own_rate_and_the_rest_the_phases() -> None:
    phase = one(
        ["all"], decay=2.0, groups=[{"select": ["head"], "base": 3.0}, {"select": ["embeddings"], "base": 1e-5}]
    )
    assert phase.lr["head.weight"] == 3.0
    assert phase.lr["head.bias"] == 3.0
    assert phase.lr["embed.weight"] == 1e-5
    assert phase.lr["layers.3.weight"] == pytest.approx(0.05)


def refusal(train: list[str], *groups: list[str]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        one(train, groups=[{"select": select, "base": 0.1} for select in groups])
    return caught.value


def test_two_groups_that_share_a_tensor_are_refused() -> None:
    error = refusal(["all"], ["head"], ["stem", "biases"])
    assert (error.reason, error.field) == (SCHEDULE_INVALID, "spec.freezing.phases[0].lr.groups[1].select")
    assert error.message == "overlapping rates: head.bias is in a group before this one too"


def test_groups_that_share_what_is_frozen_do_not_overlap() -> None:
    phase = one(
        ["head", "blocks[3]"],
        groups=[{"select": ["head", "blocks[0]"], "base": 1.0}, {"select": ["blocks"], "base": 2.0}],
    )
    assert phase.lr["head.weight"] == 1.0
    assert phase.lr["layers.3.weight"] == 2.0


def test_a_group_of_frozen_tensors_only_is_refused() -> None:
    error = refusal(["head"], ["head"], ["blocks"])
    assert (error.reason, error.field) == (SCHEDULE_INVALID, "spec.freezing.phases[0].lr.groups[1].select")
    assert error.message == "selects no tensor that the phase trains"


def test_a_groups_selector_that_matches_nothing_is_named() -> None:
    error = refusal(["head"], ["blocks[9]"])
    assert (error.reason, error.field) == (
        SELECTOR_MATCHES_NOTHING,
        "spec.freezing.phases[0].lr.groups[0].select[0]",
    )


def of_preset(preset: str, **fields: Any) -> tuple[Phase, ...]:
    return resolve_schedule(freezing(preset=preset, **fields), training(epochs=9), layout_of(4))


def test_a_group_of_a_preset_holds_in_the_phases_that_train_it() -> None:
    phases = of_preset("gradual", lr={"groups": [{"select": ["blocks[0]"], "base": 5.0}]})
    assert 5.0 not in phases[0].lr.values()
    assert phases[-1].lr["layers.0.weight"] == 5.0


def test_a_group_that_no_phase_of_a_preset_trains_is_refused() -> None:
    with pytest.raises(TrainerError) as caught:
        of_preset("head-only", lr={"groups": [{"select": ["blocks"], "base": 5.0}]})
    assert caught.value.field == "spec.freezing.lr.groups[0].select"


@given(
    st.integers(1, 12),
    st.floats(1e-5, 1.0),
    st.floats(1e-3, 1.0),
    st.lists(st.sampled_from(["head", "stem", "blocks[0]", "blocks[-1]", "blocks", "norms"]), min_size=1, max_size=4),
)
def test_rates_lie_between_lowest_and_base_and_rise_with_the_place(
    blocks: int, base: float, part: float, train: list[str]
) -> None:
    layout = layout_of(blocks)
    fields = {"name": "p", "train": train, "until": {"epochs": 1}, "lr": {"base": base, "lowest": base * part}}
    (phase,) = resolve_schedule(freezing(phases=[fields]), training(), layout)
    by_place = sorted((layout.place[name], rate) for name, rate in phase.lr.items())
    rates = [rate for _, rate in by_place]
    assert phase.lr.keys() == phase.train
    assert rates == pytest.approx(sorted(rates))
    assert rates[-1] == base
    if by_place[0][0] < by_place[-1][0]:
        assert rates[0] == pytest.approx(base * part)
