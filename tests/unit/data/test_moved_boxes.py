"""Augmentation moves a box with what is in it: a bright rectangle is where its box says, whatever was done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thaw_api.steps import BOX_AUGMENTATION
from thaw_trainer.data.augmentation import Augmentation

SIZE = 48
OPTIONS: dict[str, Any] = {
    "horizontalFlip": {"probability": 0.5},
    "verticalFlip": {"probability": 0.5},
    "randomCrop": {"padding": 8},
    "randomResizedCrop": {"minScale": 0.3},
    "shift": {"share": 0.2},
    "colorJitter": {"brightness": 0.2},
}
sides = st.integers(6, 24)
places = st.integers(0, SIZE - 24)


def rectangle(left: int, top: int, width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
    """White on black: bytes [1, 3, size, size], and its box [1, 4] in shares of the sides."""
    pixels = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    pixels[..., top : top + height, left : left + width] = 255
    return pixels, torch.tensor([[left, top, left + width, top + height]]) / SIZE


def bright(image: torch.Tensor) -> list[int] | None:
    """Left, top, right, bottom of what is bright in an image, in pixels."""
    rows, columns = np.nonzero(image.numpy().max(axis=0) > 100)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else None


def test_every_step_is_tried_here() -> None:
    assert OPTIONS.keys() == BOX_AUGMENTATION.keys()


@pytest.mark.parametrize("steps", [[name] for name in OPTIONS] + [list(OPTIONS)], ids=lambda steps: "-".join(steps))
@settings(max_examples=25, deadline=None)
@given(left=places, top=places, width=sides, height=sides, seed=st.integers(0, 1000))
def test_a_box_is_around_what_it_was_around(
    steps: list[str], left: int, top: int, width: int, height: int, seed: int
) -> None:
    pixels, box = rectangle(left, top, width, height)
    augmentation = Augmentation([{name: OPTIONS[name]} for name in steps], SIZE)
    moved, boxes, kept = augmentation.with_boxes(pixels, [box], np.asarray([3]), (seed, 1))
    assert torch.equal(moved, augmentation(pixels, np.asarray([3]), (seed, 1)))
    seen = bright(moved[0])
    if len(boxes[0]):
        assert kept[0].tolist() == [True]
        # Bilinear scaling blurs an edge by as much as it magnifies.
        assert seen is None or (boxes[0][0] * SIZE).tolist() == pytest.approx(seen, abs=2.0)
        assert ((boxes[0] >= 0) & (boxes[0] <= 1)).all()
    else:
        assert kept[0].tolist() == [False]
        assert seen is None or min(seen[2] - seen[0], seen[3] - seen[1]) <= 2


def test_what_is_cut_away_goes_and_the_rest_stays_in_order() -> None:
    pixels = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    corners = torch.tensor([[0, 0, 4, 4], [22, 22, 26, 26], [44, 44, 48, 48], [20, 20, 28, 28]]) / SIZE
    crop = Augmentation([{"randomResizedCrop": {"minScale": 0.3}}], SIZE)
    lost = 0
    for row in range(20):
        _, boxes, kept = crop.with_boxes(pixels, [corners], np.asarray([row]), (0, 0))
        assert len(boxes[0]) == int(kept[0].sum())
        lost += int((~kept[0]).sum())
    assert lost


def test_an_image_without_boxes_has_none_afterwards() -> None:
    pixels = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    augmentation = Augmentation([{name: options} for name, options in OPTIONS.items()], SIZE)
    _, boxes, kept = augmentation.with_boxes(pixels, [torch.zeros(0, 4)], np.asarray([0]), (0, 0))
    assert boxes[0].shape == (0, 4)
    assert kept[0].shape == (0,)
