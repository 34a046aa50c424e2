"""Object detection: boxes and classes of what is in an image, with DETR, YOLOS and others that match queries with
objects."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import box_convert

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.augmentation import Augmentation
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.coco import coco_digest
from thaw_trainer.data.objects import make_object_store
from thaw_trainer.models import detector, pretrained
from thaw_trainer.models.detection_loss import DetectionLoss, Target, counts_of
from thaw_trainer.tasks.detection_metrics import Found, Truth, average_precision, detection_metrics
from thaw_trainer.tasks.image_rows import PixelTask, prepare_images
from thaw_trainer.tasks.object_rows import ObjectBatch, ObjectRows, Objects
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions


class ObjectDetection(PixelTask[ObjectBatch]):
    """One trial's view of the rows and the model."""

    @cached_property
    def rows(self) -> dict[str, ObjectRows]:
        """The splits' rows."""
        return {split: ObjectRows(self.store, split) for split in ("train", "validation", "test")}

    @cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return detector.load_config(self.model_folder, self.spec.model, self.labels)

    @cached_property
    def loss(self) -> DetectionLoss:
        """The loss, balanced for the training rows."""
        return DetectionLoss(self.config, self.rows["train"].counts())

    def build(self) -> nn.Module:
        """See Task."""
        model = detector.build(self.model_folder, self.config, self.spec.model)
        model.loss_function = self.loss  # type: ignore[assignment]
        return model

    def ids(self, split: str) -> NDArray[np.int64]:
        """See PixelTask."""
        ids: NDArray[np.int64] = self.rows[split].id
        return ids

    def collate(self, split: str, plan: BatchPlan) -> ObjectBatch:
        """See RowSource."""
        return self.rows[split].collate(plan)

    def augmented(self, batch: ObjectBatch, augmentation: Augmentation, seed: Sequence[int]) -> ObjectBatch:
        """See PixelTask: boxes move with what is in them, and go where nothing of it is left."""
        pixels, boxes, kept = augmentation.with_boxes(
            batch.pixels, [each.boxes for each in batch.objects], batch.id, seed
        )
        objects = tuple(
            Objects(moved, each.category[is_kept])
            for each, moved, is_kept in zip(batch.objects, boxes, kept, strict=True)
        )
        return replace(batch, pixels=pixels, objects=objects)

    def step(self, model: nn.Module, batch: ObjectBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: the loss of `DetectionLoss`, which the model's forward calls; boxes are counted."""
        told = model(pixel_values=self.pixels(batch, device), labels=_targets(batch, device))
        return told.loss, float(counts_of(_box_counts(batch)).sum())

    def outputs(self, model: nn.Module, batch: ObjectBatch, device: torch.device) -> Outputs:
        """See Task: `logits` [rows, queries, classes] and `boxes` [rows, queries, 4] as centre, width and height."""
        told = model(pixel_values=self.pixels(batch, device))
        return {"logits": told.logits.float(), "boxes": told.pred_boxes.float()}

    def predictions(self, batch: ObjectBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, split, loss and how many boxes it is of, and of what was found `score` and `category`
        [rows, found] and `box` [rows, found, 4]: left, top, right, bottom in shares of an image's sides."""
        logits, boxes = (outputs[name][: batch.plan.filled].cpu() for name in ("logits", "boxes"))
        loss = self.loss.of_rows(logits, boxes, _targets(batch, logits.device))
        score, category, box = detector.detections(logits, boxes, self.loss.scores)
        rows = slice(0, batch.plan.filled)
        return {
            "id": batch.id[rows],
            "split": np.full(batch.plan.filled, batch.split),
            "loss": loss.numpy(),
            "counted": counts_of(_box_counts(batch)),
            "score": score.numpy(),
            "category": category.numpy(),
            "box": box.numpy(),
        }

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        truth, found = self._compared(predictions)
        loss = float(predictions["loss"].sum(dtype=np.float64) / predictions["counted"].sum())
        return detection_metrics(truth, found, len(self.labels)) | {"loss": loss}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: the average precision of each label; None for one that no image has."""
        truth, found = self._compared(predictions)
        each = average_precision(truth, found, len(self.labels)).mean(axis=0)
        values = [None if np.isnan(value) else float(value) for value in each]
        return {"averagePrecision": dict(zip(self.labels, values, strict=True))}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: Hugging Face layout, with its image processor."""
        detector.export(model, folder, self.settings)

    def _compared(self, predictions: Predictions) -> tuple[list[Truth], list[Found]]:
        """What is in each image, and what was found in it."""
        rows = self.rows[str(predictions["split"][0])]
        place = {number: row for row, number in enumerate(rows.id.tolist())}
        truth = [rows.truth(place[number]) for number in predictions["id"].tolist()]
        told = (predictions[name] for name in ("box", "category", "score"))
        return truth, [Found(*each) for each in zip(*told, strict=True)]


def _targets(batch: ObjectBatch, device: torch.device) -> list[Target]:
    """What is in the rows that count, as transformers wants it."""
    return [
        {
            "class_labels": each.category.to(device),
            "boxes": box_convert(each.boxes.to(device), "xyxy", "cxcywh"),
        }
        for each in batch.counted
    ]


def _box_counts(batch: ObjectBatch) -> NDArray[np.int64]:
    return np.asarray([len(each.category) for each in batch.counted], dtype=np.int64)


class ObjectDetectionKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_images(
            spec,
            files,
            lambda folder, paths, how: make_object_store(folder, spec.data, paths, how),
            detector.detector_settings,
            coco_digest,
        )

    def open(self, spec: FineTuneJobSpec, store: Path) -> ObjectDetection:
        """See TaskKind."""
        return ObjectDetection(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = ObjectDetection(spec, store)
        if spec.model.init == "pretrained":
            pretrained.check_weights(task.model_folder)
        detector.check_size(task.config, task.settings)
        return detector.build_empty(task.config).train()


KIND = ObjectDetectionKind()
