"""Where things are in an output folder."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from thaw_trainer.disk import writing
from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError


@dataclass(frozen=True)
class OutputFolder:
    """The output folder of one job on one machine."""

    root: Path

    @property
    def result(self) -> Path:
        """The result, written last: when it is there, everything else is."""
        return self.root / "result.json"

    @property
    def model(self) -> Path:
        """The exported model."""
        return self.root / "model"

    @property
    def unfinished_model(self) -> Path:
        """Where the model is written before it is whole."""
        return self.root / "model.unfinished"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def trials(self) -> Path:
        """The table of trials and epochs."""
        return self.root / "trials.parquet"

    @property
    def logs(self) -> Path:
        """Logs of driver and gangs."""
        return self.root / "logs"

    @property
    def journal(self) -> Path:
        """The search's truth."""
        return self.root / "journal.jsonl"

    @property
    def stores(self) -> Path:
        """Prepared data."""
        return self.root / "prepared"

    @property
    def ray(self) -> Path:
        """Ray's own state, of no use after a run."""
        return self.root / ".ray"

    def checkpoints(self, trial: str) -> Path:
        """Checkpoints of one trial."""
        return self.root / "checkpoints" / trial

    def remove_checkpoints(self) -> None:
        """Of all trials: without a journal nobody knows what they were of."""
        with writing(self.root):
            for pattern in ("trial-*", "first-phase-*", "refit-*", "soup"):
                for folder in (self.root / "checkpoints").glob(pattern):
                    shutil.rmtree(folder)

    def first_phase(self, key: str) -> Path:
        """The checkpoint of a first phase that several trials share."""
        return self.checkpoints(f"first-phase-{key}")

    @property
    def soup(self) -> Path:
        """Checkpoints of the average of the best trials."""
        return self.checkpoints("soup")

    def refit(self, key: str) -> Path:
        """Checkpoints of a trial that is trained once more."""
        return self.checkpoints(f"refit-{key}")

    @contextmanager
    def locked(self, wait: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds the folder for one run.

        Args:
            wait: called when another run holds the folder; whether to try again.

        Raises:
            TrainerError: OutputNotWritable, when another run still holds it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise TrainerError(
                OUTPUT_NOT_WRITABLE, f"{self.root} cannot be written: {error}", "spec.output.uri", "infrastructure"
            ) from error
        try:
            while not _took(descriptor):
                if not wait():
                    raise TrainerError(
                        OUTPUT_NOT_WRITABLE,
                        f"another run is writing to {self.root}",
                        "spec.output.uri",
                        "infrastructure",
                    )
            yield
        finally:
            os.close(descriptor)


def _took(descriptor: int) -> bool:
    """Whether the lock is this process's now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise TrainerError(
            OUTPUT_NOT_WRITABLE, f"the output folder cannot be locked: {error}", "spec.output.uri", "infrastructure"
        ) from error
    return True
