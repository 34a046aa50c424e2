"""Memory and disk of a cached search beside one that computes.

    python benchmarks/cache_memory.py [--rows 1000]

The search of prefix_cache.py that trains the top block of MiniLM, three trials of one epoch, each way in a process of
its own. Anonymous memory is what the process has for itself; mapped memory is pages of files, which the kernel takes
back when it wants them. The entries on disk are what `freezing.cache.budget` bounds: with a budget below what an entry
needs, nothing is kept.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from figures import save
from prefix_cache import Case, run_trials, spec_of, write_inputs

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "cache_memory.json"
CASE = Case(6, 1, 1, 3)
WAYS = {"computed": ("never", "10Gi"), "cached": ("always", "10Gi"), "budget too small": ("auto", "1Mi")}
_BETWEEN_LOOKS = 0.02


class Peaks:
    """The largest anonymous and mapped memory of this process, by the kernel's account."""

    def __init__(self) -> None:
        self.anonymous = self.mapped = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(_BETWEEN_LOOKS):
            fields = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            )
            self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]) * 1024)
            self.mapped = max(self.mapped, int(fields["RssFile"].split()[0]) * 1024)


def measure(way: str, rows: int, answers: Any) -> None:
    """One way's search, in a process of its own."""
    mode, budget = WAYS[way]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, rows, CASE.blocks)
        manifest = spec_of(CASE, mode).manifest()
        manifest["freezing"]["cache"]["budget"] = budget
        spec = FineTuneJobSpec.model_validate(manifest)
        prepared = prepare_job(spec, find_task(spec.task), JobFiles(UriRoots(folder), folder / "stores"))
        peaks = Peaks()
        run_trials(CASE, mode, folder, prepared, "run")
        peaks.stop()
        disk = sum(file.stat().st_size for file in (folder / "cache").rglob("*.bin"))
    answers.put(json.dumps({"anonymous": peaks.anonymous, "mapped": peaks.mapped, "disk": disk}))


def main() -> None:
    """Runs each way and prints its peaks."""
    parser = argparse.ArgumentParser(description="Memory and disk of a cached search.")
    parser.add_argument("--rows", type=int, default=1000)
    chosen = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    found: dict[str, dict[str, int]] = {}
    print(f"{'':<18}{'anonymous MB':>14}{'mapped MB':>11}{'on disk MB':>12}")
    for way in WAYS:
        answers = context.Queue()
        process = context.Process(target=measure, args=(way, chosen.rows, answers))
        process.start()
        found[way] = json.loads(answers.get())
        process.join()
        anonymous, mapped, disk = (found[way][name] / 1e6 for name in ("anonymous", "mapped", "disk"))
        print(f"{way:<18}{anonymous:>14.0f}{mapped:>11.0f}{disk:>12.1f}", flush=True)
    save(RESULT, {"rows": chosen.rows, "ways": found})


if __name__ == "__main__":
    main()
