"""A cache for one trial of a tiny job."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tests.unit.tiny_jobs import TinyJob
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

TOP: dict[str, Any] = {"freezing": {"preset": "last-n", "depth": 1}}
HEAD: dict[str, Any] = {"freezing": {"preset": "head-only"}}


def site(
    tiny: TinyJob, spec: FineTuneJobSpec, root: Path, mode: Literal["auto", "always"] = "always", budget: int = 2**30
) -> PrefixSite:
    """A process's cache in a folder, planned as the job's search plans it."""
    files = JobFiles(UriRoots(tiny.root), tiny.root / "stores")
    plan = prepare_job(spec, find_task(spec.task), files).prefixes[spec.model.uri]
    return PrefixSite(PrefixMemory(root), PrefixPlan(mode, budget, plan.passes))
