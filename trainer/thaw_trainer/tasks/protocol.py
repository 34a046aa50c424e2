"""What a task is to the rest of the trainer. The loop, the search and the report know nothing else of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.kept_stores import KeptStores
from thaw_trainer.uris import UriRoots

Batch: TypeAlias = Any
"""What a task's `batches` yields; only the task looks inside."""

Outputs: TypeAlias = dict[str, torch.Tensor]
"""Tensors [rows, ...] by name."""

Predictions: TypeAlias = dict[str, NDArray[Any]]
"""Columns of equal length, one of them `id`: which example each row is about."""


@dataclass(frozen=True)
class Share:
    """One worker's part of each batch."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class JobFiles:
    """Where a job's inputs are and where its stores go."""

    roots: UriRoots
    stores: Path
    """Folder of the prepared stores."""
    kept: KeptStores | None = None
    """Stores of earlier jobs; None: nothing is kept between jobs."""


class Task(Protocol):
    """One kind of fine-tuning, for one trial's spec and what was prepared for it."""

    def build(self) -> nn.Module:
        """A new module from the pretrained files; what is random in it comes from torch's generator."""

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[Batch]:
        """This worker's batches. Of `train`, every `gradientAccumulation` batches are one optimizer step, and every
        worker gets as many; `validation` and `test` have each example once over all workers."""

    def row_source(self) -> "RowSource | None":
        """The rows, where an epoch goes over the same ones each time; None where it does not."""

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one training epoch."""

    def step(self, model: nn.Module, batch: Batch, device: torch.device) -> tuple[torch.Tensor, float]:
        """The loss summed over what counts in the batch (a scalar with gradient), and how much counts."""

    def outputs(self, model: nn.Module, batch: Batch, device: torch.device) -> Outputs:
        """What the model computes for a batch, nothing but tensors: it is also run for several heads at once (vmap)."""

    def predictions(self, batch: Batch, outputs: Outputs) -> Predictions:
        """What that says of each example of the batch."""

    def metrics(self, predictions: Predictions, full: bool) -> dict[str, float]:
        """Metrics over all examples; the cheap ones, or with `full` all of them."""

    def details(self, predictions: Predictions) -> dict[str, Any]:
        """JSON-able material for the report, such as a confusion matrix."""

    def export(self, model: nn.Module, folder: Path) -> None:
        """Writes model and processor so that others can load them."""


@runtime_checkable
class ShowsSamples(Protocol):
    """A task that can show what its model makes of a few test examples."""

    def samples(self, model: nn.Module, device: torch.device) -> list[dict[str, str]]:
        """For people: each a `prompt`, what the `model` makes of it, and the `text` that it should be."""


class Peers(Protocol):
    """The workers that train one trial together, as a task sees them."""

    @property
    def share(self) -> Share:
        """This worker's part."""

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""

    def sum(self, tensor: torch.Tensor) -> None:
        """Replaces a tensor by its sum over all workers."""


@runtime_checkable
class Acts(Protocol):
    """A task whose training batches come of what its model does."""

    def follow(self, model: nn.Module, peers: Peers) -> None:
        """Names the module that acts in the batches that are asked for from now on."""


@runtime_checkable
class WritesText(Protocol):
    """A task whose model also writes texts to be measured by, token after token."""

    def write(self, model: nn.Module, batch: Batch, device: torch.device, full: bool) -> Outputs:
        """More outputs for `predictions`; none where no metric that is asked for needs them. The model computes all of
        it: nothing is replayed while it writes.

        Args:
            full: whether all metrics are asked for, see `Task.metrics`.
        """


@runtime_checkable
class ShowsEpisode(Protocol):
    """A task that can show how its model acts."""

    def episode(self, model: nn.Module, device: torch.device) -> dict[str, Any]:
        """The first test episode, step by step: lists `observations` (the first of so many `numbers`), `actions` and
        `rewards`."""


@runtime_checkable
class Finishes(Protocol):
    """A task that trains its head in another form than others load it in."""

    def finish(self, model: nn.Module) -> None:
        """Brings a trained model into the form that is exported, in place and once."""


class RowSource(Protocol):
    """Rows that every epoch goes over. Each batch of `batches` then says with `split` and `plan` which it holds."""

    def sweep(self, split: str, share: Share) -> list[BatchPlan]:
        """Each row of a split once, in batches as large as a worker's of `batches`, in an order that never changes."""

    def collate(self, split: str, plan: BatchPlan) -> Batch:
        """The batch that a plan describes."""

    def pristine_key(self) -> str:
        """Digest of all that decides what the untrained model computes for a row: files, settings, row contents."""


class TaskKind(Protocol):
    """A task's class: how inputs are prepared, and how a trial's task is made of them."""

    def prepare(self, spec: FineTuneJobSpec, files: JobFiles) -> Path:
        """Prepares the inputs of a spec once and returns the store's folder; what is fitted is fitted on train."""

    def open(self, spec: FineTuneJobSpec, store: Path) -> Task:
        """The task of one trial."""

    def empty_model(self, spec: FineTuneJobSpec, store: Path) -> nn.Module:
        """The model without numbers, to resolve selectors and count parameters."""


def predict(task: Task, model: nn.Module, batch: Batch, device: torch.device) -> Predictions:
    """What a model says of each example of a batch."""
    return task.predictions(batch, task.outputs(model, batch, device))


def plain_columns(predictions: Predictions) -> Predictions:
    """The same without objects, which only a pickle could hold: what is no number or text is JSON."""
    return {
        name: np.asarray([each if isinstance(each, str) else json.dumps(np.asarray(each).tolist()) for each in column])
        if column.dtype == object
        else column
        for name, column in predictions.items()
    }


def join_predictions(parts: list[Predictions]) -> Predictions:
    """Predictions of several batches or workers as one, in order of id."""
    parts = [part for part in parts if len(part["id"])] or parts[:1]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["id"], kind="stable")
    return {name: column[order] for name, column in joined.items()}
