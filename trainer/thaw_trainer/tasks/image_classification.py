"""Image classification: one label for each image, with a model of transformers, torchvision or timm."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.images import make_store
from thaw_trainer.models import image_classifier, pretrained
from thaw_trainer.models.image_files import library_of
from thaw_trainer.tasks.classification import class_predictions, confusion_details, cross_entropy
from thaw_trainer.tasks.classification_metrics import classification_metrics, top_share
from thaw_trainer.tasks.image_rows import ImageBatch, ImageTask, prepare_images
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions


class ImageClassification(ImageTask):
    """One trial's view of the rows and the model."""

    def build(self) -> nn.Module:
        """See Task."""
        return image_classifier.build(self.model_folder, self.spec.model, self.labels)

    def step(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows."""
        return cross_entropy(
            lambda: self._logits(model, batch, device), batch, self.store.facts, self.spec.training, device
        )

    def outputs(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> Outputs:
        """See Task: logits [rows, classes]."""
        return {"logits": self._logits(model, batch, device)}

    def predictions(self, batch: ImageBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, label and logits [rows, classes]."""
        return class_predictions(batch, outputs)

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        logits, label = predictions["logits"], predictions["label"]
        return classification_metrics(logits, label) | {"top5": top_share(logits, label, 5)}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: the confusion matrix."""
        return confusion_details(predictions, self.labels)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: the layout of the model's library."""
        image_classifier.export(model, folder, self.model_folder, self.settings, self.labels)

    def _logits(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> torch.Tensor:
        return image_classifier.logits_of(model, self.pixels(batch, device))


class ImageClassificationKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_images(spec, files, lambda folder, paths, how: make_store(folder, spec.data, paths, how))

    def open(self, spec: FineTuneJobSpec, store: Path) -> ImageClassification:
        """See TaskKind."""
        return ImageClassification(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = ImageClassification(spec, store)
        if spec.model.init == "pretrained" and library_of(task.model_folder) == "transformers":
            pretrained.check_weights(task.model_folder)
        model = image_classifier.build_empty(task.model_folder, spec.model, task.labels)
        image_classifier.check_size(model, task.settings)
        return model.train()


KIND = ImageClassificationKind()
