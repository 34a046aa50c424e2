from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from thaw_trainer.loop.randomness import seed_stream, untouched_process


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))


def process_state() -> list[Any]:
    """What a trial may change for the whole process."""
    return [
        random.getstate(),
        [np.asarray(part).tolist() for part in np.random.get_state()],
        torch.random.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_grad_enabled(),
    ]


def spoil() -> None:
    seed_stream(99, "anything")
    drawn()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_grad_enabled(True)


def test_a_stream_repeats_itself_in_every_generator() -> None:
    seed_stream(1, "training", 2, 3)
    first = drawn()
    seed_stream(1, "training", 2, 3)
    assert drawn() == first


@pytest.mark.parametrize(
    "other", [(2, "training", 2, 3), (1, "head", 2, 3), (1, "training", 3, 3), (1, "training", 2, 4)]
)
def test_another_seed_stream_epoch_or_rank_draws_other_numbers(other: tuple[int, str, int, int]) -> None:
    seed_stream(1, "training", 2, 3)
    first = drawn()
    seed_stream(*other)
    assert not set(drawn()) & set(first)


def test_a_process_is_left_as_it_was() -> None:
    before = process_state()
    with untouched_process():
        spoil()
        assert process_state() != before
    assert process_state() == before


def test_a_process_is_left_as_it_was_by_an_error_too() -> None:
    before = process_state()

    def spoil_and_fail() -> None:
        with untouched_process():
            spoil()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        spoil_and_fail()
    assert process_state() == before


def test_strict_determinism_is_put_back_as_it_was() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    before = process_state()
    with untouched_process():
        torch.use_deterministic_algorithms(False)
    assert process_state() == before
