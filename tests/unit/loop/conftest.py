"""What the tests of the loop share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tiny_jobs import (
    NO_DROPOUT,
    TinyJob,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT with dropout."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT without dropout."""
    return TinyJob(tmp_path_factory.mktemp("still"), **NO_DROPOUT)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own for each test's checkpoints."""
    return str(tmp_path / "trial")
