"""Seeded streams, and a process that a trial leaves as it found it.

Every epoch's generator is a function of (seed, stream, epoch, rank), so a trial in a used process, a fresh one or one
resumed from a checkpoint draws the same numbers and no generator's state needs saving.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_stream(seed: int, stream: str, epoch: int = 0, rank: int = 0) -> None:
    """Seeds Python, numpy and torch (every device) for one stream of one epoch on one worker."""
    text = f"{seed}/{stream}/{epoch}/{rank}"
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@contextmanager
def untouched_process() -> Iterator[None]:
    """Whatever a trial changes in process-wide state is put back after it."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    deterministic, grad = torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.random.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_grad_enabled(grad)
