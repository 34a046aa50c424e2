from __future__ import annotations

from math import cos, pi
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from thaw_api.training import ScheduleSpec
from thaw_trainer.loop.learning_rate import rate_factor


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
