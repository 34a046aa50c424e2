"""Tests share two cores, so torch takes one thread: here, and in the processes that tests start."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
