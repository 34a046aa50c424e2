"""A folder with a tiny model, a table and a manifest, and the command line run in it as a person would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.unit.tiny_jobs import labelled_texts, write_csv
from tests.unit.tiny_models import save_pretrained

THAW = Path(sys.executable).parent / "thaw"
ROWS = 240


@dataclass(frozen=True)
class Workspace:
    """The folder, and its manifest `job.yaml`."""

    folder: Path

    @property
    def output(self) -> Path:
        """Where runs go unless told otherwise."""
        return self.folder / "out"

    def write(self, **spec: Any) -> None:
        """Writes the manifest; `spec` replaces blocks of a plain one."""
        plain = {
            "task": "text-classification",
            "model": {"uri": "file:model"},
            "data": {
                "train": {"uri": "file:data.csv"},
                "split": {"validation": 0.2, "test": 0.2, "stratifyBy": "label"},
            },
            "training": {"epochs": 2, "batchSize": 16, "optimizer": {"lr": 1e-3}},
            "output": {"uri": "file:out"},
        }
        job = {"apiVersion": "thaw.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "tiny"}}
        (self.folder / "job.yaml").write_text(yaml.safe_dump(job | {"spec": plain | spec}), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """`thaw` with a subcommand and further arguments, as for subprocess."""
        subcommand, *rest = arguments
        return [str(THAW), subcommand, str(self.folder / "job.yaml"), *rest]

    def thaw(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=timeout, check=False)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command in a session of its own, so that it can be killed with all that it started."""
        log = (self.folder / "started.log").open("a", encoding="utf-8")
        return subprocess.Popen(
            self.command(*arguments), stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def result(self, output: Path | None = None) -> dict[str, Any]:
        """What result.json says."""
        content: dict[str, Any] = json.loads(((output or self.output) / "result.json").read_text(encoding="utf-8"))
        return content

    def journal(self, output: Path | None = None) -> list[dict[str, Any]]:
        """The journal's whole lines so far."""
        file = (output or self.output) / "journal.jsonl"
        lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
        return [json.loads(line) for line in lines]

    def reports(self, output: Path | None = None) -> list[dict[str, Any]]:
        """The journal's epoch reports."""
        return [line for line in self.journal(output) if line["event"] == "report"]

    def log(self) -> str:
        """What every gang has logged, over all runs."""
        return "\n".join(file.read_text(encoding="utf-8") for file in sorted((self.output / "logs").glob("slot-*.log")))

    def trained(self) -> list[tuple[int, int]]:
        """(trial, epoch) of every epoch that some gang has trained to its end."""
        found = re.findall(r"trial (\d+) attempt \d+ reports epoch (\d+)", self.log())
        return [(int(trial), int(epoch)) for trial, epoch in found]

    def worker_processes(self) -> list[int]:
        """Process ids of the gangs' workers, the newest last."""
        return [int(pid) for pid in re.findall(r"is ready, process (\d+)", self.log())]


def make_workspace(folder: Path) -> Workspace:
    """A workspace with a tiny BERT (no dropout) and a table of colours in sentences."""
    save_pretrained(folder / "model", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    write_csv(folder / "data.csv", list(labelled_texts(ROWS)))
    workspace = Workspace(folder)
    workspace.write()
    return workspace
