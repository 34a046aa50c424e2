"""Augmentation of training images: what happens to a row in an epoch depends on the seed, the epoch and the row alone,
so that it is the same whatever the batch, the worker and the restart."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import v2

from thaw_api import steps
from thaw_api.steps import IMAGE_AUGMENTATION, read_steps

Transform = Callable[..., Any]


class Augmentation:
    """The steps of `data.augment`, made for images of one size."""

    def __init__(self, written: list[dict[str, Any]], size: int) -> None:
        self._size = size
        self._transform: Transform = v2.Compose(
            [_transform(step, size) for _, step in read_steps(written, IMAGE_AUGMENTATION)]
        )

    def __call__(self, pixels: torch.Tensor, ids: NDArray[np.int64], seed: Sequence[int]) -> torch.Tensor:
        """Augmented copies of images.

        Args:
            pixels: bytes [rows, channels, height, width].
            ids: each row's number.
            seed: of the job and the epoch.
        """
        with torch.random.fork_rng(devices=[]):
            return torch.stack([self._seeded((*seed, int(row)))(image) for image, row in zip(pixels, ids, strict=True)])

    def with_boxes(
        self, pixels: torch.Tensor, boxes: Sequence[torch.Tensor], ids: NDArray[np.int64], seed: Sequence[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """Augmented copies of images and of the boxes in them, cut where the image ends.

        Args:
            pixels, ids, seed: as when it is called for images alone, which become the same.
            boxes: of each image, [boxes, 4]: left, top, right, bottom as shares of its sides.

        Returns:
            The images, their boxes, and which boxes [boxes] are still a pixel wide and high; the others are not given.
        """
        images, moved, kept = [], [], []
        with torch.random.fork_rng(devices=[]):
            for image, inside, row in zip(pixels, boxes, ids, strict=True):
                corners = tv_tensors.BoundingBoxes(inside * self._size, format="XYXY", canvas_size=(self._size,) * 2)
                augmented, corners = self._seeded((*seed, int(row)))(tv_tensors.Image(image), corners)
                found = v2.functional.clamp_bounding_boxes(corners).as_subclass(torch.Tensor)
                is_kept = ((found[:, 2:] - found[:, :2]) >= 1).all(dim=1)
                images.append(augmented.as_subclass(torch.Tensor))
                moved.append(found[is_kept] / self._size)
                kept.append(is_kept)
        return torch.stack(images), moved, kept

    def _seeded(self, seed: tuple[int, ...]) -> Transform:
        """The transform, whose random numbers are next those of a seed."""
        # The processor's generator alone: torch.manual_seed would reset those of the devices too.
        torch.default_generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        return self._transform


def _transform(step: Any, size: int) -> Any:
    match step:
        case steps.HorizontalFlip():
            return v2.RandomHorizontalFlip(step.probability)
        case steps.VerticalFlip():
            return v2.RandomVerticalFlip(step.probability)
        case steps.RandomCrop():
            return v2.RandomCrop(size, padding=step.padding)
        case steps.RandomResizedCrop():
            ratio = (1 / step.max_ratio, step.max_ratio)
            return v2.RandomResizedCrop(size, scale=(step.min_scale, 1.0), ratio=ratio, antialias=True)
        case steps.Rotation():
            return v2.RandomRotation(step.degrees, interpolation=v2.InterpolationMode.BILINEAR)
        case steps.Shift():
            return v2.RandomAffine(0, translate=(step.share, step.share))
        case steps.ColorJitter():
            return v2.ColorJitter(step.brightness, step.contrast, step.saturation, step.hue)
        case steps.TrivialAugment():
            return v2.TrivialAugmentWide()
        case steps.RandAugment():
            return v2.RandAugment(step.operations, step.magnitude)
        case steps.RandomErasing():
            return v2.RandomErasing(step.probability)
    raise NotImplementedError(type(step).__name__)
