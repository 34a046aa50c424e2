"""A first phase that several trials have in common is trained once: the others go on from its checkpoint.

The trial that ends it first leaves its checkpoint in a place that bears the digest of all that decides the phase. A
trial that begins later takes it for its own and goes on as one that was interrupted does.
"""

import shutil
import uuid
from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective
from thaw_trainer.data.store import digest
from thaw_trainer.disk import writing
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import phase_specs, resolve_schedule
from thaw_trainer.loop.checkpoint import Checkpoints, link_or_copy
from thaw_trainer.loop.distributed import Gang


def first_phase_key(spec: FineTuneJobSpec, layout: Layout) -> str | None:
    """Digest of all that decides a trial's first phase; None when it has no other.

    Raises:
        TrainerError: what resolving the schedule raises.
    """
    phases = resolve_schedule(spec.freezing, spec.training, layout)
    if len(phases) < 2:
        return None
    written = phase_specs(spec.freezing, spec.training, layout)[0].manifest()
    manifest = spec.manifest()
    # What acts in the last phase only, or is part of the resolved rates.
    training: dict[str, Any] = {
        key: value for key, value in manifest.get("training", {}).items() if key != "earlyStopping"
    }
    training["optimizer"] = {key: value for key, value in training.get("optimizer", {}).items() if key != "lr"}
    first = {key: value for key, value in written.items() if key != "lr"}
    policy = [spec.freezing.frozen_norms, spec.freezing.frozen_dropout]
    inputs = [manifest["task"], manifest["model"], manifest["data"], objective(spec)]
    return digest(inputs, training, first, phases[0].lr, policy)


class FirstPhase:
    """Where trials find the first phase that they share; None: they share none."""

    def __init__(self, place: Path | None, gang: Gang) -> None:
        self._place, self._gang = place, gang

    def take(self, checkpoints: Checkpoints) -> bool:
        """Gives a fresh trial the checkpoint that another has left; whether there was one."""
        if self._place is None:
            return False
        taken = False
        if self._gang.rank == 0 and checkpoints.newest() is None and self._place.is_dir():
            taken = _copy(self._place, checkpoints.folder)
        return bool(self._gang.broadcast(taken))

    def leave(self, checkpoints: Checkpoints) -> None:
        """Leaves a trial's checkpoint for others; called when its first phase has ended with its newest epoch.

        Raises:
            TrainerError: OutputNotWritable.
        """
        if self._place is not None and self._gang.rank == 0 and not self._place.exists():
            with writing(self._place.parent):
                _copy(checkpoints.folder, self._place)


def shared_reports(history: list[dict[str, Any]], warnings: list[str], now: float) -> list[dict[str, Any]]:
    """Reports of epochs that another trial has trained: they took no time and no look into the cache."""
    own = {"started": now, "ended": now, "prefix": {}, "warnings": warnings, "shared": True}
    return [report | own for report in history]


def _copy(folder: Path, place: Path) -> bool:
    """Whole or not at all; whether it is there now by this copy."""
    unfinished = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    shutil.copytree(folder, unfinished, copy_function=link_or_copy)
    try:
        unfinished.rename(place)
    except OSError:  # another was faster, or an interrupted trial has left something there
        shutil.rmtree(unfinished, ignore_errors=True)
        return False
    return True
