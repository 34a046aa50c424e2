"""Whether an entry pays: what is measured here is what it would save and cost."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE = 4 * 2**20


@dataclass(frozen=True)
class DiskSpeed:
    """Bytes per second of the cache's folder."""

    write: float
    read: float
    """From the disk itself."""
    read_again: float
    """From the page cache."""


@dataclass(frozen=True)
class Estimate:
    """One entry before it is filled. Seconds of one process for one pass over the split's rows."""

    forward: float
    """Computing up to the boundary."""
    bytes: int
    passes: int
    """How often the job is expected to go over the rows with everything below the boundary frozen."""

    def seconds_saved(self, disk: DiskSpeed, memory: int) -> float:
        """What all passes take without the entry, less what they take with it; negative when it does not pay.

        Args:
            memory: bytes that the page cache may take.
        """
        read = disk.read_again if self.bytes < memory else disk.read
        with_it = self.forward + self.bytes / disk.write + self.passes * self.bytes / read
        return self.passes * self.forward - with_it


def measure_disk(folder: Path) -> DiskSpeed:
    """Writes, drops and reads a few MiB.

    Raises:
        OSError: the folder cannot be written.
    """
    file = folder / f"speed-{os.getpid()}"
    sample = os.urandom(_SAMPLE)
    try:
        with file.open("w+b", buffering=0) as opened:
            began = time.perf_counter()
            opened.write(sample)
            os.fsync(opened.fileno())
            written = time.perf_counter()
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            opened.seek(0)
            before = time.perf_counter()
            opened.read(_SAMPLE)
            read = time.perf_counter()
            opened.seek(0)
            opened.read(_SAMPLE)
            again = time.perf_counter()
    finally:
        file.unlink(missing_ok=True)
    return DiskSpeed(_SAMPLE / (written - began), _SAMPLE / (read - before), _SAMPLE / (again - read))


def memory_for_pages() -> int:
    """Bytes that the page cache may take: half of what is free."""
    return int(psutil.virtual_memory().available // 2)
