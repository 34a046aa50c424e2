"""The summed loss of detectors, compared with what transformers computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.tiny_objects import CONFIGS, QUERIES
from thaw_trainer.models.detection_loss import DetectionLoss, Target, counts_of

CLASSES = 3


def config_of(family: str, **changes: Any) -> Any:
    return CONFIGS[family](num_labels=CLASSES, **changes)


def outputs(family: str, rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [rows, queries, classes] and boxes [rows, queries, 4] at random."""
    generator = torch.Generator().manual_seed(seed)
    classes = CLASSES + (family != "conditional_detr")
    logits = torch.randn(rows, QUERIES, classes, generator=generator)
    return logits, torch.rand(rows, QUERIES, 4, generator=generator) * 0.5 + 0.2


def targets(counts: list[int], seed: int = 1) -> list[Target]:
    """So many boxes in each image, at random."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "class_labels": torch.randint(CLASSES, (count,), generator=generator),
            "boxes": torch.rand(count, 4, generator=generator) * 0.3 + 0.3,
        }
        for count in counts
    ]


def of_transformers(config: Any, logits: torch.Tensor, boxes: torch.Tensor, wanted: list[Target]) -> float:
    """The loss that the model would compute itself."""
    from transformers import AutoModelForObjectDetection

    model = AutoModelForObjectDetection.from_config(config)
    return float(model.loss_function(logits, wanted, torch.device("cpu"), boxes, config, None, None)[0])


def ours(config: Any, counts: list[int], logits: torch.Tensor, boxes: torch.Tensor, wanted: list[Target]) -> float:
    """The sum, divided by the count."""
    loss = DetectionLoss(config, np.asarray(counts))
    return float(
        loss.of_rows(logits, boxes, wanted).sum() / counts_of(np.asarray([len(t["boxes"]) for t in wanted])).sum()
    )


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("counts", [[2, 1, 3, 5], [1], [6, 6]])
def test_over_all_training_images_it_is_transformers_own(family: str, counts: list[int]) -> None:
    config, wanted = config_of(family), targets(counts)
    logits, boxes = outputs(family, len(counts))
    assert ours(config, counts, logits, boxes, wanted) == pytest.approx(
        of_transformers(config, logits, boxes, wanted), rel=1e-5
    )


@pytest.mark.parametrize("family", list(CONFIGS))
def test_of_a_batch_with_as_many_boxes_as_the_mean_it_is_transformers_own(family: str) -> None:
    config, wanted = config_of(family), targets([2, 3])
    logits, boxes = outputs(family, 2)
    assert ours(config, [1, 4, 2, 3], logits, boxes, wanted) == pytest.approx(
        of_transformers(config, logits, boxes, wanted), rel=1e-5
    )


@pytest.mark.parametrize("family", list(CONFIGS))
def test_parts_of_a_batch_add_up_to_the_whole(family: str) -> None:
    counts = [2, 0, 3, 1]
    loss = DetectionLoss(config_of(family), np.asarray(counts))
    logits, boxes = outputs(family, 4)
    wanted = targets(counts)
    whole = loss.of_rows(logits, boxes, wanted)
    alone = [loss.of_rows(logits[row : row + 1], boxes[row : row + 1], wanted[row : row + 1]) for row in range(4)]
    torch.testing.assert_close(whole, torch.cat(alone))
    assert counts_of(np.asarray(counts)).tolist() == [2, 1, 3, 1]


def test_rows_that_only_fill_up_do_not_count() -> None:
    loss = DetectionLoss(config_of("yolos"), np.asarray([2, 1]))
    logits, boxes = outputs("yolos", 4)
    wanted = targets([2, 1])
    whole = loss.of_rows(logits, boxes, wanted)
    logits[2:], boxes[2:] = torch.nan, torch.nan
    assert torch.equal(loss.of_rows(logits, boxes, wanted), whole)


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("counts", [[0, 0], []])
def test_without_boxes_there_still_is_a_gradient(family: str, counts: list[int]) -> None:
    logits, boxes = outputs(family, 2)
    logits.requires_grad_(True)
    total = DetectionLoss(config_of(family), np.asarray([2])).of_rows(logits, boxes, targets(counts)).sum()
    torch.autograd.backward(total)
    assert logits.grad is not None
    assert bool((logits.grad != 0).any()) == bool(counts)


def test_more_boxes_than_queries_leave_the_worst_unmatched() -> None:
    counts = [QUERIES + 3]
    config, wanted = config_of("yolos"), targets(counts)
    logits, boxes = outputs("yolos", 1)
    assert ours(config, counts, logits, boxes, wanted) == pytest.approx(
        of_transformers(config, logits, boxes, wanted), rel=1e-5
    )


def test_a_model_that_has_diverged_has_a_loss_that_says_so() -> None:
    logits, boxes = outputs("yolos", 2)
    logits[0, 0, 0] = torch.nan
    loss = DetectionLoss(config_of("yolos"), np.asarray([2])).of_rows(logits, boxes, targets([1, 1]))
    assert torch.isnan(loss).all()


@pytest.mark.parametrize("family", ["detr", "conditional_detr"])
def test_auxiliary_losses_of_lower_layers_are_added_where_the_configuration_asks(family: str) -> None:
    from transformers import AutoModelForObjectDetection

    config = config_of(family, auxiliary_loss=True)
    torch.manual_seed(0)
    model = AutoModelForObjectDetection.from_config(config)
    pixels, counts = torch.randn(2, 3, 32, 32), [2, 1]
    wanted = targets(counts)
    theirs = model(pixel_values=pixels, labels=wanted).loss
    model.loss_function = DetectionLoss(config, np.asarray(counts))
    assert model(pixel_values=pixels, labels=wanted).loss.item() / 3 == pytest.approx(theirs.item(), rel=1e-5)
