"""Costs by hand, and what must never cost less than something smaller."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.advice.catalogue import CATALOGUE, Listed
from thaw_trainer.advice.cost import PROCESS_BYTES, cost_of
from thaw_trainer.advice.shape import Shape, Stack
from thaw_trainer.advice.work import Adapters, Part, Stretch, Work

TINY = Shape(stem=100, head=10, stacks=(Stack(blocks=3, parameters=1000, hidden=8, inner=32),))
ONE = 4 * 1000 + 2 * 4 * 4 * 8
"""Multiplications of one block for a row of four tokens."""


def work(part: Part, **changes: object) -> Work:
    plain = Work(rows=1, length=4, stretches=(Stretch(1.0, part),), batch_rows=1, cached=False)
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("part", "passes"),
    [("all", 3 + 3 + 3), (3, 3 + 3 + 3), (1, 3 + 1 + 1), ("head", 3)],
)
def test_a_step_is_forward_and_twice_as_much_for_each_trained_block(part: Part, passes: int) -> None:
    assert cost_of(TINY, work(part)).operations == 2 * ONE * passes


def test_a_cached_run_computes_what_is_frozen_once() -> None:
    plain, cached = work(1), work(1, cached=True)
    for epochs in (1.0, 5.0):
        each = (Stretch(epochs, 1),)
        assert cost_of(TINY, replace(plain, stretches=each)).operations == 2 * ONE * epochs * 5
        assert cost_of(TINY, replace(cached, stretches=each)).operations == 2 * ONE * (2 + epochs * 3)


def test_an_adapter_saves_the_gradients_of_weights() -> None:
    cost = cost_of(TINY, work("all", adapters=Adapters(2)))
    assert cost.operations == 2 * ONE * 6
    # Four layers of attention, and two of 8 and 32.
    assert cost.trained == 10 + 3 * 2 * (4 * 16 + 2 * 40)
    assert cost_of(TINY, work("all", adapters=Adapters(0))).trained == 10 + 3 * (2 * 8 + 32)


def test_memory_is_weights_gradients_two_moments_and_activations() -> None:
    cost = cost_of(TINY, work("all"))
    assert (cost.weights, cost.gradients, cost.moments) == (4 * 3110, 4 * 3110, 8 * 3110)
    assert cost.activations == 4 * 3 * 4 * (9 * 8 + 2 * 32)
    assert cost.memory == PROCESS_BYTES + cost.weights + cost.gradients + cost.moments + cost.activations
    assert cost_of(TINY, work("all", moments=1)).moments == 4 * 3110
    assert cost_of(TINY, work("all", batch_rows=5)).activations == 5 * cost.activations
    assert cost_of(TINY, work("all", recomputes=True)).activations < cost.activations


def test_a_run_of_several_stretches_is_their_sum_and_its_memory_that_of_the_deepest() -> None:
    both = cost_of(TINY, work("head", stretches=(Stretch(1.0, "head"), Stretch(2.0, "all"))))
    head, rest = cost_of(TINY, work("head")), cost_of(TINY, work("all", stretches=(Stretch(2.0, "all"),)))
    assert both.operations == head.operations + rest.operations
    assert both.memory == rest.memory


MODELS = st.sampled_from(CATALOGUE)


@given(
    model=MODELS,
    rows=st.integers(1, 10**6),
    more=st.integers(1, 10**5),
    epochs=st.floats(0.5, 50),
    part=st.sampled_from(["all", "head", 1, 3]),
    cached=st.booleans(),
)
def test_more_rows_and_more_epochs_cost_more(
    model: Listed, rows: int, more: int, epochs: float, part: Part, cached: bool
) -> None:
    plain = Work(rows, 64, 16, (Stretch(epochs, part),), cached=cached)
    cost = cost_of(model.shape, plain)
    assert cost.operations <= cost_of(model.shape, replace(plain, rows=rows + more)).operations
    longer = replace(plain, stretches=(Stretch(epochs + 1, part),))
    assert cost.operations <= cost_of(model.shape, longer).operations
    assert cost.memory == cost_of(model.shape, longer).memory


@given(model=MODELS, fewer=st.integers(0, 30), cached=st.booleans(), epochs=st.floats(1, 9))
def test_more_trained_blocks_cost_no_less(model: Listed, fewer: int, cached: bool, epochs: float) -> None:
    parts: list[Part] = ["head" if fewer == 0 else fewer, fewer + 1, "all"]
    costs = [cost_of(model.shape, Work(100, 64, 16, (Stretch(epochs, part),), cached=cached)) for part in parts]
    for less, more in pairwise(costs):
        assert less.operations <= more.operations * (1 + 1e-9)
        assert less.trained <= more.trained
        assert less.memory <= more.memory * (1 + 1e-9)
