"""The loss of DETR and its kin (arXiv 2005.12872, section 3.1) as a sum: each object is matched with one query, which
then is to give its class and its box, and all others nothing.

transformers divides a batch's loss by what is in that batch, so that several workers, or parts of a step, would not be
one. Here it is a sum over images, for the loop to divide by the count over all of them. There DETR's classification is
divided by the weights of all queries, of what is matched and what is not, and its boxes by their number: two divisors,
of which a sum has one. What the first is to the second over all training images stands for it in every batch. So the
loss of all of them together is that of transformers, and that of a batch differs by how much more it has in it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from thaw_trainer.models.detector import family_of, queries_of

Target: TypeAlias = Mapping[str, torch.Tensor]
"""What is in an image: `class_labels` int64 [boxes], `boxes` [boxes, 4]: centre, width and height as shares."""


def counts_of(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each of some images counts, whose numbers of boxes are given: its boxes, and 1 without any, as DETR counts a
    batch without any."""
    return np.maximum(boxes, 1)


class DetectionLoss:
    """Takes the place of a model's own `loss_function`, which its forward calls with all that it has computed."""

    def __init__(self, config: Any, boxes: NDArray[np.int64]) -> None:
        """`boxes`: how many each training image has."""
        self.config = config
        self.scores = family_of(config).scores
        self._matcher = _matcher(config, self.scores)
        self._share = 1.0
        if self.scores == "softmax":
            matched = np.minimum(boxes, queries_of(config))
            weights = matched + config.eos_coefficient * (queries_of(config) - matched)
            self._share = float(counts_of(boxes).sum() / weights.sum())

    def __call__(
        self,
        logits: torch.Tensor,
        labels: Sequence[Target],
        device: torch.device,
        pred_boxes: torch.Tensor,
        config: Any,
        outputs_class: torch.Tensor | None = None,
        outputs_coord: torch.Tensor | None = None,
        **rest: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], None]:
        """The summed loss of the first rows, one for each of `labels`, with the auxiliary ones of lower layers, if the
        configuration wants them. The other arguments are those of transformers' losses."""
        loss = self.of_rows(logits, pred_boxes, labels).sum()
        if config.auxiliary_loss and outputs_class is not None and outputs_coord is not None:
            for lower, boxes in zip(outputs_class[:-1], outputs_coord[:-1], strict=True):
                loss = loss + self.of_rows(lower, boxes, labels).sum()
        return loss, {}, None

    def of_rows(self, logits: torch.Tensor, boxes: torch.Tensor, targets: Sequence[Target]) -> torch.Tensor:
        """Each row's part of the sum [targets].

        Args:
            logits: [rows, queries, classes, and for softmax one more]; rows beyond the targets do not count.
            boxes: [rows, queries, 4]: centre, width and height as shares of an image's sides.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self._of_rows(logits[: len(targets)].float(), boxes[: len(targets)].float(), targets)

    def _of_rows(self, logits: torch.Tensor, boxes: torch.Tensor, targets: Sequence[Target]) -> torch.Tensor:
        if not (torch.isfinite(logits).all() and torch.isfinite(boxes).all()):
            return logits.sum(dim=(1, 2)) * torch.nan  # nothing can be matched; the loop says of a NaN what it means
        row, query, category, wanted = self._matched(logits, boxes, targets)
        none = logits.shape[-1] - (self.scores == "softmax")
        classes = torch.full(logits.shape[:2], none, dtype=torch.int64, device=logits.device)
        classes[row, query] = category
        found = boxes[row, query]
        apart = (found - wanted).abs().sum(dim=1)
        overlap = generalized_box_iou_loss(*(box_convert(each, "cxcywh", "xyxy") for each in (found, wanted)), eps=0)
        of_boxes = self.config.bbox_loss_coefficient * apart + self.config.giou_loss_coefficient * overlap
        return self._of_classes(logits, classes).index_add(0, row, of_boxes)

    def _of_classes(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Each row's classification: cross-entropy with little weight on no object, or the focal loss."""
        if self.scores == "softmax":
            weight = torch.ones(logits.shape[-1], device=logits.device)
            weight[-1] = self.config.eos_coefficient
            entropy = F.cross_entropy(logits.transpose(1, 2), classes, weight, reduction="none")
            return self._share * entropy.sum(dim=1)
        wanted = F.one_hot(classes, logits.shape[-1] + 1)[..., :-1].to(logits.dtype)
        focal: torch.Tensor = sigmoid_focal_loss(logits, wanted, alpha=self.config.focal_alpha, gamma=2)
        return focal.sum(dim=(1, 2))

    def _matched(
        self, logits: torch.Tensor, boxes: torch.Tensor, targets: Sequence[Target]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Row, query, class and box of each match."""
        device = logits.device
        if not any(len(each["class_labels"]) for each in targets):
            nothing = torch.zeros(0, dtype=torch.int64, device=device)
            return nothing, nothing, nothing, boxes.new_zeros(0, 4)
        pairs = self._matcher({"logits": logits.detach(), "pred_boxes": boxes.detach()}, targets)
        row = torch.cat([torch.full_like(query, index) for index, (query, _) in enumerate(pairs)]).to(device)
        query = torch.cat([query for query, _ in pairs]).to(device)
        category, wanted = (
            torch.cat([each[name][place.to(device)] for each, (_, place) in zip(targets, pairs, strict=True)])
            for name in ("class_labels", "boxes")
        )
        return row, query, category, wanted.float()


def _matcher(config: Any, scores: str) -> Any:
    """transformers' own matcher: the assignment with the least cost."""
    from transformers.loss.loss_deformable_detr import DeformableDetrHungarianMatcher
    from transformers.loss.loss_for_object_detection import HungarianMatcher

    kind = HungarianMatcher if scores == "softmax" else DeformableDetrHungarianMatcher
    return kind(config.class_cost, config.bbox_cost, config.giou_cost)
