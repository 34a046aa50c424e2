from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.training import ScheduleSpec
from thaw_api.triggers import UntilSpec
from thaw_trainer.freezing.schedule import Phase
from thaw_trainer.freezing.triggers import Length
from thaw_trainer.loop.learning_rate import phase_factor, rate_factor


def schedule(**fields: Any) -> ScheduleSpec:
    return ScheduleSpec.model_validate(fields)


def factors(steps: int, **fields: Any) -> list[float]:
    return [rate_factor(schedule(**fields), step, steps) for step in range(steps)]


def of_torch(scheduler: Any, steps: int) -> list[float]:
    """The rates that one of torch's schedulers gives to a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    stepped = scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        stepped.step()
    return rates


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_linear_is_torchs_linear_to_zero(steps: int) -> None:
    expected = of_torch(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, steps), steps)
    assert factors(steps, name="linear", warmup=0) == pytest.approx(expected)


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_cosine_is_torchs_cosine_to_zero(steps: int) -> None:
    expected = of_torch(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps), steps)
    assert factors(steps, name="cosine", warmup=0) == pytest.approx(expected)


def test_warm_up_and_fall_are_torchs_two_schedulers_in_sequence() -> None:
    def both(optimizer: Any) -> Any:
        rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 10, 1.0, 9)
        fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 40)
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])

    assert factors(50, name="linear", warmup=0.2) == pytest.approx(of_torch(both, 50))


def test_constant_stays_at_its_peak_after_warm_up() -> None:
    assert factors(8, name="constant", warmup=0.25) == [0.5, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
@given(st.integers(1, 300), st.floats(0, 0.99))
def test_a_rate_is_above_zero_in_every_step_and_reaches_its_peak(name: str, steps: int, warmup: float) -> None:
    values = factors(steps, name=name, warmup=warmup)
    assert all(0 < value <= 1 for value in values)
    assert max(values) == 1
    rise = round(warmup * steps)
    assert values[:rise] == [(step + 1) / rise for step in range(rise)]
    falling = values[rise:]
    assert falling == sorted(falling, reverse=True)


@given(st.integers(1, 300), st.floats(0, 0.99))
def test_the_step_after_the_span_would_have_no_rate(steps: int, warmup: float) -> None:
    if round(warmup * steps) < steps:
        assert rate_factor(schedule(name="linear", warmup=warmup), steps, steps) == 0
        assert rate_factor(schedule(name="cosine", warmup=warmup), steps + 3, steps) == pytest.approx(0)


def test_cosine_is_half_way_in_the_middle() -> None:
    assert factors(8, name="cosine", warmup=0)[4] == pytest.approx(0.5)
    assert factors(8, name="cosine", warmup=0)[2] == pytest.approx((1 + cos(pi / 4)) / 2)


@pytest.mark.parametrize(("steps", "cut"), [(100, 0.1), (73, 0.25), (10, 0.5)])
def test_the_slanted_triangle_is_that_of_the_paper(steps: int, cut: float) -> None:
    """Equation 3 of arXiv 1801.06146, with its names; T iterations, ratio 32."""
    total, ratio = steps, 32
    peak = round(total * cut)
    expected = []
    for t in range(total):
        p = t / peak if t < peak else 1 - (t - peak) / (peak * (total / peak - 1))
        expected.append((1 + p * (ratio - 1)) / ratio)
    found = factors(steps, name="slanted-triangular", warmup=cut)
    assert found == pytest.approx(expected)
    assert found[0] == pytest.approx(1 / 32)
    assert max(found) == found[peak] == 1.0


LENGTH = Length(epochs=4, steps_per_epoch=10)


def of_phase(began: int, until: dict[str, Any], run: dict[str, Any], **own: Any) -> list[float]:
    """The factors of a phase's steps, as long as it may last."""
    phase = Phase("p", frozenset(), UntilSpec.model_validate(until), {}, **own)
    factor = phase_factor(schedule(**run), phase, began, LENGTH)
    lasts = until.get("steps", LENGTH.steps - began)
    return [factor(step) for step in range(began, began + lasts)]


RUN = {"name": "linear", "warmup": 0.1}


def test_without_a_shape_of_its_own_a_phase_has_its_part_of_the_runs() -> None:
    assert of_phase(13, {"steps": 12}, RUN) == factors(40, **RUN)[13:25]


def test_the_span_of_a_phase_is_as_long_as_the_phase_may_last() -> None:
    assert of_phase(13, {"steps": 12}, RUN | {"span": "phase"}) == factors(12, **RUN)
    assert of_phase(13, {"plateau": {}}, RUN | {"span": "phase"}) == factors(27, **RUN)


def test_a_phases_own_shape_spans_the_phase_whatever_the_run_does() -> None:
    own = of_phase(13, {"steps": 12}, RUN, schedule="cosine")
    assert own == factors(12, name="cosine", warmup=0.1)


@pytest.mark.parametrize(("warmup", "steps"), [(0.25, 3), (3, 3), (1, 1), (0, 0), (0.5, 6)])
def test_a_warm_up_is_a_share_below_one_and_steps_from_one_on(warmup: float, steps: int) -> None:
    found = of_phase(13, {"steps": 12}, RUN, schedule="constant", warmup=warmup)
    assert found == [min(1.0, (step + 1) / max(1, steps)) for step in range(12)]


def test_over_the_runs_shape_a_warm_up_multiplies() -> None:
    found = of_phase(20, {"steps": 10}, RUN, warmup=4)
    assert found == pytest.approx([f * min(1, (i + 1) / 4) for i, f in enumerate(factors(40, **RUN)[20:30])])


@given(
    st.sampled_from(["linear", "cosine", "constant", "slanted-triangular"]),
    st.none() | st.floats(0, 50),
    st.sampled_from(["run", "phase"]),
    st.booleans(),
    st.integers(0, 39),
    st.integers(1, 60),
)
def test_a_factor_is_never_below_zero_or_above_one(
    name: str, warmup: float | None, span: str, is_own: bool, began: int, steps: int
) -> None:
    own = {"schedule": name} if is_own else {}
    found = of_phase(began, {"steps": min(steps, 40 - began)}, {"name": name, "span": span}, warmup=warmup, **own)
    assert all(0 <= factor <= 1 for factor in found)
