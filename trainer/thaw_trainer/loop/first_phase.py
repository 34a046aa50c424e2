"""A first phase that several trials have in common is trained once: the others go on from its checkpoint.

The trial that ends it first leaves its checkpoint in a place that bears the digest of all that decides the phase. A
trial that begins later takes it for its own and goes on as one that was interrupted does.
"""

import json
import logging
import shutil
import uuid
from pathlib import Path
from typing import Any

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import objective
from thaw_trainer.data.store import digest
from thaw_trainer.freezing.layout import Layout
from thaw_trainer.freezing.schedule import phase_specs, resolve_schedule
from thaw_trainer.loop.checkpoint import Checkpoints, link_or_copy
from thaw_trainer.loop.distributed import Gang

_log = logging.getLogger("thaw.first_phase")


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

    def take(self, checkpoints: Checkpoints, warnings: list[str], now: float) -> None:
        """Gives a fresh trial the checkpoint that another has left, if there is one. Its epochs are reported as shared:
        they took no time and no look into the cache.

        Args:
            warnings: the trial's own.
            now: the clock's time.
        """
        if self._place is None:
            return
        own = {"started": now, "ended": now, "prefix": {}, "warnings": warnings, "shared": True}
        if self._gang.rank == 0 and checkpoints.newest() is None and self._place.is_dir():
            _copy(self._place, checkpoints.folder, own)
        self._gang.broadcast(None)  # nobody looks for it before it is there

    def leave(self, checkpoints: Checkpoints) -> None:
        """Leaves a trial's checkpoint for others; called when its first phase has ended with its newest epoch."""
        if self._place is not None and self._gang.rank == 0 and not self._place.exists():
            _copy(checkpoints.folder, self._place, {})


def _copy(folder: Path, place: Path, own: dict[str, Any]) -> None:
    """Whole or not at all: without it, the phase is trained.

    Args:
        own: fields that the reports in the copy have instead of theirs.
    """
    unfinished = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    try:
        shutil.copytree(folder, unfinished, copy_function=link_or_copy)
        for file in unfinished.glob("*/state.json"):
            state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            state["history"] = [report | own for report in state["history"]]
            file.unlink()  # it may be another name of the file that was copied
            file.write_text(json.dumps(state), encoding="utf-8")
        unfinished.rename(place)
    except OSError as error:  # another was faster, the disk is full, an interrupted trial has left something there
        _log.info("%s was not copied to %s: %s", folder, place, error)
        shutil.rmtree(unfinished, ignore_errors=True)
