"""An image backbone whose head gives an embedding, and the margin by which identities are told apart in training.

ArcFace adds an angle to the true identity's (arXiv 1801.07698, eq. 3), CosFace takes from its cosine
(arXiv 1801.09414, eq. 4). Only the backbone is exported: an identity of training means nothing afterwards.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from thaw_api.model import MarginSpec
from thaw_trainer.models.image_classifier import logits_of


class MarginHead(nn.Module):
    """Scaled cosines to one direction for each identity, with a margin against the true one."""

    def __init__(self, size: int, identities: int, spec: MarginSpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(identities, size))
        nn.init.normal_(self.weight, std=0.01)
        self.spec = spec

    def forward(self, embeddings: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """Logits [rows, identities] of embeddings [rows, size] whose true identities are given [rows]."""
        # In float32 whatever the rest is computed in: a scale of 64 makes much of each bit of a cosine.
        with torch.autocast(embeddings.device.type, enabled=False):
            return self._logits(embeddings.float(), identity)

    def _logits(self, embeddings: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight.float()))
        true = F.one_hot(identity, cosines.shape[1]).bool()
        return self.spec.scale * torch.where(true, self._with_margin(cosines), cosines)

    def _with_margin(self, cosines: torch.Tensor) -> torch.Tensor:
        margin = self.spec.margin
        if self.spec.method == "cosface":
            return cosines - margin
        sines = torch.sqrt((1 - cosines.square()).clamp(min=1e-7))
        moved = cosines * math.cos(margin) - sines * math.sin(margin)
        # Beyond an angle of pi - margin the cosine would rise again: a straight line goes on falling there.
        return torch.where(cosines > math.cos(math.pi - margin), moved, cosines - margin * math.sin(margin))


class FaceEmbedder(nn.Module):
    """Backbone with its projection, then the margin's directions: both are the head."""

    def __init__(self, backbone: nn.Module, size: int, identities: int, margin: MarginSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.margin = MarginHead(size, identities, margin)

    def forward(self, pixels: torch.Tensor, identity: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings [rows, size] of length 1; with identities [rows], logits of the training."""
        embeddings = logits_of(self.backbone, pixels)
        return F.normalize(embeddings) if identity is None else self.margin(embeddings, identity)
