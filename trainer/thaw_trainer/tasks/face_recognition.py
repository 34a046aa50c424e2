"""Face recognition: an embedding in which images of one identity are near each other, whoever it is.

Trained as a classifier of the identities of train with a margin; measured on identities that are in no other split.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_api.model import MarginSpec
from thaw_trainer.data.images import make_identities
from thaw_trainer.models import image_classifier, pretrained
from thaw_trainer.models.face_embedder import FaceEmbedder
from thaw_trainer.models.image_files import library_of
from thaw_trainer.tasks.classification import cross_entropy
from thaw_trainer.tasks.image_rows import ImageBatch, ImageTask, prepare_images
from thaw_trainer.tasks.protocol import JobFiles, Outputs, Predictions
from thaw_trainer.tasks.verification_metrics import verification_metrics

_EMBEDDING = 512


class FaceRecognition(ImageTask):
    """One trial's view of the rows and the model."""

    exports_whole = False
    """The directions of the identities of train are not exported."""

    @property
    def size(self) -> int:
        """Numbers of an embedding."""
        return self.spec.model.head.embedding or _EMBEDDING

    @property
    def directions(self) -> list[str]:
        """What the backbone's projection gives, as labels."""
        return [str(number) for number in range(self.size)]

    def build(self) -> nn.Module:
        """See Task."""
        return self.around(image_classifier.build(self.model_folder, self.spec.model, self.directions))

    def around(self, backbone: nn.Module) -> nn.Module:
        """A backbone with the identities' directions."""
        margin = self.spec.model.head.margin or MarginSpec()
        return FaceEmbedder(backbone, self.size, len(self.labels), margin)

    def step(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: cross-entropy over rows, with the margin."""
        identities = torch.from_numpy(batch.label).to(device)
        return cross_entropy(
            lambda: model(self.pixels(batch, device), identities), batch, self.store.facts, self.spec.training, device
        )

    def outputs(self, model: nn.Module, batch: ImageBatch, device: torch.device) -> Outputs:
        """See Task: embeddings [rows, size] of length 1."""
        return {"embedding": model(self.pixels(batch, device))}

    def predictions(self, batch: ImageBatch, outputs: Outputs) -> Predictions:
        """See Task: columns id, label (the identity's number in its split) and embedding [rows, size]."""
        counted = batch.weight > 0
        embedding = outputs["embedding"].float().cpu().numpy()
        return {"id": batch.id[counted], "label": batch.label[counted], "embedding": embedding[counted]}

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task."""
        return verification_metrics(predictions["embedding"], predictions["label"])

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task: nothing yet."""
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task: the backbone alone, in the layout of its library; its classes are the embedding's numbers."""
        assert isinstance(model, FaceEmbedder)
        image_classifier.export(model.backbone, folder, self.model_folder, self.settings, self.directions)


class FaceRecognitionKind:
    """See TaskKind."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """See TaskKind."""
        return prepare_images(spec, files, lambda folder, paths, how: make_identities(folder, spec.data, paths, how))

    def open(self, spec: FineTuneJobSpec, store: Path) -> FaceRecognition:
        """See TaskKind."""
        return FaceRecognition(spec, store)

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """See TaskKind."""
        task = FaceRecognition(spec, store)
        if spec.model.init == "pretrained" and library_of(task.model_folder) == "transformers":
            pretrained.check_weights(task.model_folder)
        backbone = image_classifier.build_empty(task.model_folder, spec.model, task.directions)
        image_classifier.check_size(backbone, task.settings)
        with torch.device("meta"):
            return task.around(backbone.train())


KIND = FaceRecognitionKind()
