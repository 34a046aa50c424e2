from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.freezing.test_selectors import layout_of
from thaw_api.freezing import FreezingSpec
from thaw_api.training import TrainingSpec
from thaw_trainer.errors import NOTHING_TO_TRAIN, SCHEDULE_INVALID, SELECTOR_MATCHES_NOTHING, TrainerError
from thaw_trainer.freezing.presets import preset_phases, schedule_warnings
from thaw_trainer.freezing.progress import longest_phase
from thaw_trainer.freezing.schedule import Phase, resolve_schedule


def freezing(**fields: Any) -> FreezingSpec:
    return FreezingSpec.model_validate(fields)


def training(epochs: int = 3, lr: float = 0.1) -> TrainingSpec:
    return TrainingSpec.model_validate({"epochs": epochs, "optimizer": {"lr": lr}})


def written(blocks: int = 4, epochs: int = 3, **fields: Any) -> list[tuple[str, list[str], dict[str, Any]]]:
    """A preset as name, selectors and trigger of each phase."""
    phases = preset_phases(freezing(**fields), blocks, epochs)
    return [(phase.name, phase.train, phase.until.model_dump(exclude_none=True)) for phase in phases]


END, ONE = {"fraction": 1.0}, {"epochs": 1}


def test_without_a_preset_everything_is_trained_to_the_end() -> None:
    assert written() == written(preset="none") == [("all", ["all"], END)]


def test_head_only_trains_the_head_to_the_end() -> None:
    assert written(preset="head-only") == [("head", ["head"], END)]


def test_last_n_trains_the_head_and_the_top_blocks() -> None:
    assert written(preset="last-n", depth=2) == [("top", ["head", "blocks[-2:]"], END)]


def test_lp_ft_trains_the_head_for_half_of_the_run() -> None:
    assert written(preset="lp-ft") == [("head", ["head"], {"fraction": 0.5}), ("all", ["all"], END)]


def test_gradual_thaws_a_block_an_epoch_and_then_the_stem() -> None:
    assert written(blocks=2, epochs=9, preset="gradual") == [
        ("head", ["head"], ONE),
        ("top-1", ["head", "blocks[-1:]"], ONE),
        ("top-2", ["head", "blocks[-2:]"], ONE),
        ("all", ["all"], END),
    ]


def test_gradual_stops_at_its_depth() -> None:
    assert [name for name, _, _ in written(blocks=4, epochs=9, preset="gradual", depth=2)] == ["head", "top-1", "top-2"]


def test_first_n_trains_the_head_and_the_bottom_blocks() -> None:
    assert written(preset="first-n", depth=2) == [("bottom", ["head", "blocks[:2]"], END)]


def test_bitfit_trains_the_head_and_every_bias() -> None:
    (phase,) = resolve_schedule(freezing(preset="bitfit"), training(), layout_of(2))
    assert phase.train == {"head.weight", "head.bias", "layers.0.bias", "layers.1.bias"}


def test_ulmfit_is_gradual_with_the_rates_of_the_paper() -> None:
    gradual, ulmfit = (
        resolve_schedule(freezing(preset=preset), training(9, lr=0.01), layout_of(4))
        for preset in ("gradual", "ulmfit")
    )
    assert [phase.train for phase in ulmfit] == [phase.train for phase in gradual]
    assert {(phase.schedule, phase.warmup) for phase in ulmfit} == {("slanted-triangular", 0.1)}
    assert ulmfit[-1].lr["layers.1.weight"] == pytest.approx(0.01 / 2.6**3)


def test_chain_thaw_trains_each_layer_alone_from_the_bottom_and_then_all_from_the_best() -> None:
    phases = resolve_schedule(freezing(preset="chain-thaw"), training(99), layout_of(2))
    assert [phase.name for phase in phases] == ["head", "stem", "block-0", "block-1", "all"]
    assert [phase.restore_best for phase in phases] == [False, True, True, True, True]
    head, stem, first, second, everything = (phase.train for phase in phases)
    assert head | stem | first | second == everything
    assert sum(map(len, (head, stem, first, second))) == len(everything)
    assert all(phase.until.plateau for phase in phases[:-1])


def test_chain_thaw_leaves_out_a_stem_that_is_not_there() -> None:
    names = [phase.name for phase in preset_phases(freezing(preset="chain-thaw"), 1, 9, has_stem=False)]
    assert names == ["head", "block-0", "all"]


@pytest.mark.parametrize(("epochs", "warns"), [(8, True), (9, False)])
def test_chain_thaw_warns_when_it_cannot_reach_its_last_phase(epochs: int, warns: bool) -> None:
    assert bool(schedule_warnings(freezing(preset="chain-thaw"), epochs, blocks=2)) == warns


@pytest.mark.parametrize(
    ("preset", "depth", "at_a_time", "order", "steps"),
    [
        ("lisa", None, 2, "random", 20),
        ("lisa", 3, 3, "random", 20),
        ("badam", None, 1, "ascending", 50),
        ("badam", 2, 2, "ascending", 50),
    ],
)
def test_lisa_and_badam_train_blocks_in_turns(
    preset: str, depth: int | None, at_a_time: int, order: str, steps: int
) -> None:
    fields = {"depth": depth} if depth else {}
    (phase,) = resolve_schedule(freezing(preset=preset, **fields), training(), layout_of(4))
    rotation = phase.rotation
    assert rotation is not None
    assert (rotation.at_a_time, rotation.order, rotation.every.steps) == (at_a_time, order, steps)
    assert phase.fresh
    assert ("embed.weight" in rotation.always) == (preset == "lisa")
    assert "head.weight" in rotation.always


def test_lisa_of_a_model_with_one_block_trains_that_block() -> None:
    (phase,) = resolve_schedule(freezing(preset="lisa"), training(), layout_of(1))
    assert phase.trained_in(0) == phase.train


def test_gradual_joins_blocks_when_epochs_are_few() -> None:
    assert [name for name, _, _ in written(blocks=12, epochs=3, preset="gradual")] == ["head", "top-7", "all"]
    assert [name for name, _, _ in written(blocks=12, epochs=4, preset="gradual", depth=6)] == [
        "head",
        "top-2",
        "top-4",
        "top-6",
    ]


def test_gradual_of_one_epoch_is_the_head() -> None:
    assert [name for name, _, _ in written(epochs=1, preset="gradual")] == ["head"]


@given(st.integers(1, 12), st.integers(1, 20), st.none() | st.integers(1, 12))
def test_gradual_thaws_more_in_each_phase_and_reaches_its_last_before_the_end(
    blocks: int, epochs: int, depth: int | None
) -> None:
    spec = freezing(preset="gradual", **({"depth": min(depth, blocks)} if depth else {}))
    phases = resolve_schedule(spec, training(epochs), layout_of(blocks))
    assert all(below.train < above.train for below, above in pairwise(phases))
    assert sum(phase.until.epochs or 0 for phase in phases[:-1]) < epochs
    if epochs > 1:
        reach = blocks + 1 if depth is None else min(depth, blocks)
        assert len(phases[-1].train) == len({"head.weight", "head.bias"}) + 3 * min(reach, blocks) + 2 * (
            reach > blocks
        )


@pytest.mark.parametrize("preset", ["last-n", "first-n", "gradual", "ulmfit", "lisa", "badam"])
def test_a_depth_beyond_the_model_is_refused(preset: str) -> None:
    with pytest.raises(TrainerError, match="depth 5 is more than the 4 blocks") as caught:
        preset_phases(freezing(preset=preset, depth=5), 4, 3)
    assert (caught.value.reason, caught.value.field) == (SCHEDULE_INVALID, "spec.freezing.depth")


def resolved(*phases: dict[str, Any], lr: float = 0.1) -> tuple[Phase, ...]:
    named = [{"name": f"p{index}", "until": {"epochs": 1}, **phase} for index, phase in enumerate(phases)]
    return resolve_schedule(freezing(phases=named), training(lr=lr), layout_of(4))


def test_a_phase_trains_at_the_runs_rate_unless_it_has_its_own() -> None:
    plain, own = resolved({"train": ["head"]}, {"train": ["head"], "lr": {"base": 0.5}})
    assert set(plain.lr.values()) == {0.1}
    assert set(own.lr.values()) == {0.5}


def test_a_decay_divides_the_rate_from_block_to_block_below_the_highest_that_is_trained() -> None:
    (phase,) = resolved({"train": ["blocks", "stem"], "lr": {"decay": 2.0}}, lr=0.8)
    assert phase.lr["layers.3.weight"] == pytest.approx(0.8)
    assert phase.lr["layers.2.bias"] == pytest.approx(0.4)
    assert phase.lr["layers.0.weight"] == pytest.approx(0.1)
    assert phase.lr["embed.weight"] == pytest.approx(0.05)


def test_rates_of_a_preset_hold_in_each_of_its_phases() -> None:
    spec = freezing(preset="gradual", lr={"base": 0.8, "decay": 2.0})
    phases = resolve_schedule(spec, training(epochs=9), layout_of(4))
    assert {phase.lr["head.weight"] for phase in phases} == {0.8}
    assert phases[-1].lr["embed.weight"] == pytest.approx(0.8 / 2**5)


def test_a_phase_whose_selectors_leave_nothing_is_refused() -> None:
    with pytest.raises(TrainerError) as caught:
        resolved({"train": ["head"]}, {"train": ["blocks[0]", "!all"]})
    assert (caught.value.reason, caught.value.field) == (NOTHING_TO_TRAIN, "spec.freezing.phases[1].train")


def test_a_selector_that_matches_nothing_is_named_by_its_path() -> None:
    with pytest.raises(TrainerError) as caught:
        resolved({"train": ["head"]}, {"train": ["head", "blocks[7]"]})
    assert caught.value.reason == SELECTOR_MATCHES_NOTHING
    assert caught.value.field == "spec.freezing.phases[1].train[1]"


@pytest.mark.parametrize(
    ("until", "start", "epochs", "expected"),
    [
        ({"epochs": 2}, 0, 10, 2),
        ({"epochs": 2}, 9, 10, 1),
        ({"epochs": 20}, 0, 10, 10),
        ({"fraction": 0.5}, 0, 10, 5),
        ({"fraction": 0.5}, 3, 10, 2),
        ({"fraction": 0.5}, 7, 10, 1),
        ({"fraction": 0.1}, 0, 30, 3),
        ({"fraction": 0.01}, 0, 10, 1),
        ({"plateau": {"patience": 1}}, 4, 10, 6),
        ({"plateau": {"patience": 1}, "epochs": 3, "fraction": 0.6}, 4, 10, 2),
    ],
)
def test_the_longest_a_phase_may_last(until: dict[str, Any], start: int, epochs: int, expected: int) -> None:
    (phase,) = resolved({"train": ["head"], "until": until})
    assert longest_phase(phase.until, start, epochs) == expected


@pytest.mark.parametrize(
    ("fields", "epochs", "hint"),
    [
        ({"preset": "gradual"}, 4, "6 phases, which do not fit into 4 epochs: they are thawed in 3 steps instead of 5"),
        ({"preset": "gradual"}, 1, "only the head is trained"),
        ({"preset": "gradual", "depth": 2}, 2, "3 phases"),
        ({"preset": "gradual"}, 6, None),
        ({"preset": "gradual", "depth": 2}, 3, None),
        ({"preset": "lp-ft"}, 1, None),
        ({}, 1, None),
    ],
)
def test_gradual_warns_when_its_phases_do_not_fit_the_epochs(
    fields: dict[str, Any], epochs: int, hint: str | None
) -> None:
    warnings = schedule_warnings(freezing(**fields), epochs, blocks=4)
    assert warnings == [] if hint is None else hint in warnings[0]


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 15))
def test_gradual_warns_just_when_it_has_fewer_phases_than_with_many_epochs(
    blocks: int, depth: int, epochs: int
) -> None:
    spec = freezing(preset="gradual", **({"depth": min(depth, blocks)} if depth else {}))
    fewer = len(preset_phases(spec, blocks, epochs)) < len(preset_phases(spec, blocks, 99))
    assert bool(schedule_warnings(spec, epochs, blocks)) == fewer


def test_without_a_stem_gradual_thawing_ends_with_the_lowest_block() -> None:
    phases = preset_phases(freezing(preset="gradual"), 3, 9, has_stem=False)
    assert [phase.name for phase in phases] == ["head", "top-1", "top-2", "top-3"]
    assert schedule_warnings(freezing(preset="gradual"), 4, 3, has_stem=False) == []
    assert schedule_warnings(freezing(preset="gradual"), 3, 3, has_stem=False) != []
