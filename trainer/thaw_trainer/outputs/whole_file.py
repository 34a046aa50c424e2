"""Files that are whole or not there: written beside their place, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw_trainer.loop.checkpoint import writing


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """A path to write to; it becomes `file` when the block ends well, and is removed otherwise.

    Raises:
        TrainerError: OutputNotWritable.
    """
    unfinished = file.with_name(f"{file.name}.unfinished")
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            with unfinished.open("rb") as written:
                os.fsync(written.fileno())
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


def write_whole_text(file: Path, text: str) -> None:
    """Writes a text; what UTF-8 cannot hold becomes `?`."""
    with whole_file(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="replace")
