"""An odd task, to show that the loop knows none: no rows, batches drawn from (split, epoch, rank), and a metric over
pairs of examples. The model learns whether two noisy signals come from the same source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn

from tests.manifests import job
from tests.unit.tiny_jobs import snapshot
from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS, TaskEntry
from thaw_trainer.tasks.protocol import Outputs, Predictions, Share

ENTRY = TaskEntry(columns=(), metrics={"auc": "max", "loss": "min"}, objective="auc")
SOURCES, SIZE = 12, 8
STEPS = 6
_SPLITS = {"train": 0, "validation": 1, "test": 2}


def verification_spec(changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
    """A spec of this task, which is on the list from now on."""
    TASKS["reinforcement-learning"] = ENTRY
    own = {"task": "reinforcement-learning", "training.optimizer": {"lr": 0.01}, "training.batchSize": 16}
    return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])


class Encoder(nn.Module):
    """Signals [n, SIZE] to embeddings [n, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(SIZE, 16)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Dropout(0.1)) for _ in range(3)])
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return F.normalize(self.head(self.norm(x)), dim=1)


@dataclass(frozen=True)
class Pairs:
    """Two signals [n, SIZE] each, and whether they have the same source [n]."""

    first: torch.Tensor
    second: torch.Tensor
    same: torch.Tensor


@dataclass(frozen=True)
class Signals:
    """Signals [n, SIZE] with their source [n] and id [n]."""

    signal: torch.Tensor
    source: NDArray[np.int64]
    id: NDArray[np.int64]


class PairVerification:
    """One trial."""

    def __init__(self, spec: FineTuneJobSpec) -> None:
        self.spec = spec
        self.built: list[nn.Module] = []
        self.snapshots: list[dict[str, torch.Tensor]] = []
        self.centres = np.random.default_rng(0).normal(size=(SOURCES, SIZE)).astype(np.float32)

    def build(self) -> nn.Module:
        """See Task."""
        self.built.append(Encoder())
        return self.built[-1]

    def row_source(self) -> None:
        """See Task: pairs are drawn anew in each epoch."""

    def steps_per_epoch(self) -> int:
        """See Task."""
        return STEPS

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[Pairs | Signals]:
        """See Task. Nothing is read: training pairs are drawn for each worker, held-out signals are numbered."""
        training = self.spec.training
        if split == "train":
            random = np.random.default_rng((training.seed, epoch, share.rank))
            rows = training.batch_size // (share.world * training.gradient_accumulation)
            for _ in range(STEPS * training.gradient_accumulation):
                yield self._pairs(random, rows)
            return
        self.snapshots.append(snapshot(self.built[0]))
        for number in range(share.rank, 7, share.world):
            random = np.random.default_rng((_SPLITS[split], number))
            source = random.integers(0, SOURCES, 5)
            yield Signals(self._noisy(random, source), source, np.arange(number * 5, number * 5 + 5))

    def step(self, model: nn.Module, batch: Pairs, device: torch.device) -> tuple[torch.Tensor, float]:
        """See Task: the pairs' likeness against whether they are of one source; what counts are pairs."""
        embedded = model(torch.cat([batch.first, batch.second]).to(device))
        first, second = embedded.chunk(2)
        likeness = 5.0 * (first * second).sum(dim=1)
        loss = F.binary_cross_entropy_with_logits(likeness, batch.same.to(device), reduction="sum")
        return loss, float(len(batch.same))

    def outputs(self, model: nn.Module, batch: Signals, device: torch.device) -> Outputs:
        """See Task."""
        return {"embedding": model(batch.signal.to(device)).float()}

    def predictions(self, batch: Signals, outputs: Outputs) -> Predictions:
        """See Task: an embedding for each example; pairs are made by the metric."""
        return {"id": batch.id, "source": batch.source, "embedding": outputs["embedding"].numpy()}

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """See Task: over all pairs of examples, of whichever worker."""
        likeness = predictions["embedding"] @ predictions["embedding"].T
        same = predictions["source"][:, None] == predictions["source"][None, :]
        pairs = np.triu_indices(len(same), k=1)
        loss = F.binary_cross_entropy_with_logits(
            torch.from_numpy(5.0 * likeness[pairs]), torch.from_numpy(same[pairs].astype(np.float32))
        )
        return {"auc": float(roc_auc_score(same[pairs], likeness[pairs])), "loss": float(loss)}

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """See Task."""
        return {}

    def export(self, model: nn.Module, folder: Path) -> None:
        """See Task."""
        torch.save(model.state_dict(), folder / "encoder.pt")

    def _pairs(self, random: np.random.Generator, rows: int) -> Pairs:
        source = random.integers(0, SOURCES, rows)
        same = random.random(rows) < 0.5
        other = np.where(same, source, (source + random.integers(1, SOURCES, rows)) % SOURCES)
        first, second = self._noisy(random, source), self._noisy(random, other)
        return Pairs(first, second, torch.from_numpy(same.astype(np.float32)))

    def _noisy(self, random: np.random.Generator, source: NDArray[np.int64]) -> torch.Tensor:
        noise = random.normal(scale=0.7, size=(len(source), SIZE))
        return torch.from_numpy((self.centres[source] + noise).astype(np.float32))
