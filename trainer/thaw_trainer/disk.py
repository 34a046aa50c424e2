"""Files that are linked or synced, and a disk that fails, as an error that names the output."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what a full, failing or read-only disk raises into a TrainerError, OutputNotWritable."""
    try:
        yield
    except OSError as error:
        raise _not_writable(folder, error) from error
    except Exception as error:
        # safetensors reports the system's errors as its own.
        if "os error" in str(error) or "I/O error" in str(error):
            raise _not_writable(folder, error) from error
        raise


def link_or_copy(file: str | Path, place: str | Path) -> None:
    """A second name for a file that is never written again; its copy, where the file system has no links."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
        sync(Path(place))


def sync(file: Path) -> None:
    """Waits until a file's content is on the disk."""
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _not_writable(folder: Path, error: Exception) -> TrainerError:
    return TrainerError(
        OUTPUT_NOT_WRITABLE, f"{folder} cannot be written: {error}", "spec.output.uri", "infrastructure"
    )
