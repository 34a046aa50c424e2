"""The search's truth: one line of JSON, synced to disk, for each trial begun, epoch reported and trial ended.

Ray Tune saves its own state every ten seconds at best; a run that is killed goes on from here.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from thaw_api.schema_model import Scalar
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, OUTPUT_OF_ANOTHER_JOB, TrainerError

TrialState = Literal["running", "succeeded", "stopped", "failed"]


@dataclass
class TrialRecord:
    """One trial as the journal knows it. `ordinal` counts from 0 in the order of suggestion."""

    ordinal: int
    parameters: dict[str, Scalar]
    reports: list[dict[str, Any]] = field(default_factory=list)
    state: TrialState = "running"
    failure: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def name(self) -> str:
        """The trial's name in results and folders."""
        return f"trial-{self.ordinal:04}"

    def best_report(self) -> dict[str, Any] | None:
        """The report of the trial's best epoch so far."""
        if not self.reports:
            return None
        best: dict[str, Any] = self.reports[self.reports[-1]["best_epoch"] - 1]
        return best if self.reports[-1]["best_epoch"] else None


class Journal:
    """The journal of one output folder."""

    def __init__(self, file: Path, job: str, manifest: str = "", on_new: Callable[[], None] = lambda: None) -> None:
        """Opens the journal, or begins it.

        Args:
            job: digest of what may not change between two runs into the same folder.
            manifest: digest of the part of it that is known before the data is read.
            on_new: called before a new journal's first line is written.

        Raises:
            TrainerError: OutputOfAnotherJob.
        """
        self.records: dict[int, TrialRecord] = {}
        self.reports: list[tuple[TrialRecord, dict[str, Any]]] = []
        """Every report in the order of the journal: what a decision saw depends on it."""
        self.interrupted = False
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = _whole_lines(file)
        if lines and lines[0]["job"] != job:
            raise TrainerError(
                OUTPUT_OF_ANOTHER_JOB,
                f"{file.parent} holds the run of another manifest; give another folder, or remove this one",
                "spec.output.uri",
            )
        self.reports += _replay(lines, self.records)
        self.interrupted = bool(lines)
        self._file = file.open("a", encoding="utf-8")
        if not lines:
            on_new()
            self._write({"event": "job", "job": job, "manifest": manifest})

    def begin(self, record: TrialRecord) -> None:
        """A trial was suggested."""
        self.records[record.ordinal] = record
        self._write({"event": "trial", "trial": record.ordinal, "parameters": record.parameters})

    def report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has trained an epoch."""
        record.reports.append(report)
        self.reports.append((record, report))
        self._write({"event": "report", "trial": record.ordinal, "report": report})

    def end(self, record: TrialRecord, state: TrialState, failure: dict[str, Any] | None = None) -> None:
        """A trial is over."""
        record.state, record.failure = state, failure
        self._write({"event": "end", "trial": record.ordinal, "state": state, "failure": failure})

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise TrainerError(
                OUTPUT_NOT_WRITABLE, f"the journal cannot be written: {error}", "spec.output.uri", "infrastructure"
            ) from error


def earlier_trials(file: Path, manifest: str) -> list[TrialRecord]:
    """The trials in a journal of the same manifest, by ordinal; the file is only read, and another run may write it."""
    records: dict[int, TrialRecord] = {}
    try:
        content = file.read_bytes()
        lines = _entries(content[: content.rfind(b"\n") + 1])
    except (OSError, ValueError):
        return []
    if lines and lines[0].get("manifest") == manifest:
        _replay(lines, records)
    return [records[ordinal] for ordinal in sorted(records)]


def _replay(lines: list[dict[str, Any]], records: dict[int, TrialRecord]) -> list[tuple[TrialRecord, dict[str, Any]]]:
    """Fills `records` with what the entries tell; returns every report in order."""
    reports = []
    for line in lines[1:]:
        if line["event"] == "trial":
            records[line["trial"]] = TrialRecord(line["trial"], line["parameters"])
            continue
        record = records[line["trial"]]
        if line["event"] == "report":
            record.reports.append(line["report"])
            reports.append((record, line["report"]))
        else:
            record.state, record.failure = line["state"], line["failure"]
    return reports


def _whole_lines(file: Path) -> list[dict[str, Any]]:
    """The journal's entries; a last line that a crash cut off is taken out of the file."""
    if not file.is_file():
        return []
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with file.open("r+b") as opened:
            opened.truncate(len(whole))
    return _entries(whole)


def _entries(whole: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in whole.split(b"\n")[:-1]]
