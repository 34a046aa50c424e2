"""Checkpoints of one trial: what moved, its optimizer state, and the run's progress.

    <folder>/epoch-0003/{weights,optimizer}.safetensors, state.json     to go on from
    <folder>/best-0002.safetensors                                      the best epoch's tensors

Tensors that no phase has trained yet are not written: they are the pretrained ones. A checkpoint is written beside
its place and renamed, so one that is there is whole; older ones are removed after the newer one is there.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from thaw_trainer.disk import link_or_copy as link_or_copy
from thaw_trainer.disk import sync
from thaw_trainer.disk import writing as writing
from thaw_trainer.loop.optimizer import load_optimizer_tensors, optimizer_tensors
from thaw_trainer.loop.sharding import placed_like, whole_tensors


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read: `state` is what `save` was given."""

    state: dict[str, Any]
    folder: Path

    def load_weights(self, model: nn.Module) -> None:
        """Puts the saved tensors into a pristine module."""
        load_moved(model, self.folder / "weights.safetensors")

    def load_optimizer(self, optimizer: torch.optim.Optimizer, model: nn.Module, wanted: frozenset[str]) -> None:
        """Puts the saved moments of these tensors into the phase's optimizer."""
        load_optimizer_tensors(optimizer, model, load_file(self.folder / "optimizer.safetensors"), wanted)


class Checkpoints:
    """The checkpoints of one trial in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keep_bests = False
        """Whether the tensors of earlier best epochs stay."""

    def best_file(self, epoch: int) -> Path:
        """Where the tensors of a best epoch are."""
        return self.folder / f"best-{epoch:04}.safetensors"

    def save(
        self,
        epoch: int,
        model: nn.Module,
        moved: frozenset[str],
        optimizer: torch.optim.Optimizer,
        state: dict[str, Any],
        best_epoch: int,
        writes: bool = True,
        averaged: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        """Writes the checkpoint of an epoch, and its best file when it is the best; removes what they replace.

        Args:
            writes: False on all but one of a gang's workers: they give their shares of a divided model only.
            averaged: inside, the model has the tensors that the best file is to hold; None: it has them already.

        Raises:
            TrainerError: OutputNotWritable, for a full or read-only disk.
        """
        tensors = whole_tensors(moved_tensors(model, moved), keep=writes)
        moments = whole_tensors(optimizer_tensors(optimizer, model), keep=writes)
        best: dict[str, torch.Tensor] | None = None
        if averaged is not None and best_epoch == epoch:
            with averaged():
                found = whole_tensors(moved_tensors(model, moved), keep=writes)
                best = {name: tensor.clone() for name, tensor in found.items()}
        if not writes:
            return
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished = self.folder / f"epoch-{epoch:04}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _save(tensors, unfinished / "weights.safetensors")
            if best is not None:
                _save(best, unfinished / "best.safetensors")
                (unfinished / "best.safetensors").replace(self.best_file(epoch))
            elif best_epoch == epoch:
                _link_whole(unfinished / "weights.safetensors", self.best_file(epoch))
            _save(moments, unfinished / "optimizer.safetensors")
            (unfinished / "state.json").write_text(json.dumps(state), encoding="utf-8")
            sync(unfinished / "state.json")
            place = self.folder / f"epoch-{epoch:04}"
            shutil.rmtree(place, ignore_errors=True)
            unfinished.rename(place)
            self._remove_all_but(epoch, best_epoch)

    def newest(self) -> Saved | None:
        """The checkpoint to go on from, if there is one."""
        folders = sorted(path for path in self.folder.glob("epoch-*") if path.suffix != ".unfinished")
        if not folders:
            return None
        return Saved(json.loads((folders[-1] / "state.json").read_text(encoding="utf-8")), folders[-1])

    def keep_best_only(self) -> None:
        """Removes what only going on would need."""
        for path in self.folder.glob("epoch-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove_all_but(self, epoch: int, best_epoch: int) -> None:
        for path in self.folder.iterdir():
            kept = self.keep_bests and path.suffix == ".safetensors"
            if not kept and path.name not in (f"epoch-{epoch:04}", self.best_file(best_epoch).name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def moved_tensors(model: nn.Module, moved: frozenset[str]) -> dict[str, torch.Tensor]:
    """The trained tensors by name, and every floating-point buffer (running statistics)."""
    trained = {name: tensor for name, tensor in model.named_parameters() if name in moved}
    persistent = model.state_dict().keys()
    buffers = {
        name: tensor for name, tensor in model.named_buffers() if name in persistent and tensor.is_floating_point()
    }
    return {name: tensor.detach().contiguous() for name, tensor in (trained | buffers).items()}


def load_moved(model: nn.Module, file: Path) -> None:
    """Puts the tensors of a file of moved tensors into a pristine module."""
    named: dict[str, torch.Tensor] = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, tensor in load_file(file).items():
            named[name].copy_(placed_like(named[name], tensor))


def _link_whole(file: Path, place: Path) -> None:
    unfinished = place.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    link_or_copy(file, unfinished)
    unfinished.replace(place)


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    save_file(tensors, file)
    sync(file)
