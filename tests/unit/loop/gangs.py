"""Gangs of two workers: processes of their own that train several trials one after another, as in a slot."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from tests.unit.prefix.sites import site
from tests.unit.tasks.pair_verification import PairVerification, verification_spec
from tests.unit.tiny_jobs import TinyJob, WatchedTask, run
from thaw_trainer.loop.distributed import Gang

WORKERS = 2
_LONGEST_WAIT = timedelta(seconds=60)
"""A worker that waits longer for another will wait for ever: the test fails."""


@dataclass(frozen=True)
class Case:
    """One trial: of a tiny job's folder, or of pair verification. `stops` interrupts it after these epochs, and it goes
    on with the changes of `then` too; `cache` is the folder of its prefix cache; `job` says what is in the job's
    folder."""

    name: str
    changes: dict[str, Any]
    root: str | None = None
    stops: tuple[int, ...] = field(default=())
    cache: str | None = None
    job: type[TinyJob] = TinyJob
    then: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Worked:
    """What one worker saw: reports (rank 0) and all tensors at each evaluation."""

    reports: list[dict[str, Any]]
    snapshots: list[dict[str, torch.Tensor]]
    state: str | None


def work(rank: int, size: int, folder: str, cases: list[Case]) -> None:
    """Runs in each worker; what it saw goes to <folder>/<case>-<rank>.pt."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=_LONGEST_WAIT)
    for case in cases:
        worked = train(case, Path(folder) / f"checkpoints-{case.name}", Gang(rank, size))
        torch.save(worked, Path(folder) / f"{case.name}-{rank}.pt")
    dist.destroy_process_group()


def train(case: Case, checkpoints: Path, gang: Gang) -> Worked:
    """Trains a case to its end, going on from its checkpoint after each interruption."""
    reports, snapshots, state, epochs = [], [], None, 0
    for part, stop in enumerate((*case.stops, None)):
        changes = case.changes | (case.then if part else {})
        task: WatchedTask | PairVerification
        prefix = None
        if case.root is None:
            spec = verification_spec(changes)
            task = PairVerification(spec)
        else:
            tiny = case.job.there(Path(case.root))
            spec = tiny.spec(changes)
            task = tiny.task(spec)
            prefix = site(tiny, spec, Path(case.cache)) if case.cache else None
        told = run(task, spec, checkpoints, gang, lambda report, stop=stop: report["epoch"] != stop, epochs, prefix)  # type: ignore[misc]
        reports += told.reports
        snapshots += task.snapshots
        state, epochs = told.state, stop or epochs
    return Worked(reports, snapshots, state)


def run_gang(folder: Path, cases: list[Case]) -> dict[str, list[Worked]]:
    """Each case's workers, by rank, from one pair of processes."""
    folder.mkdir()
    spawn(work, (WORKERS, str(folder), cases), WORKERS)  # type: ignore[no-untyped-call]
    return {
        case.name: [torch.load(folder / f"{case.name}-{rank}.pt", weights_only=False) for rank in range(WORKERS)]
        for case in cases
    }
