"""What the tests of the prefix cache share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tiny_jobs import TinyJob


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A BERT of 3 blocks, with dropout."""
    return TinyJob(tmp_path_factory.mktemp("job"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache folder."""
    return tmp_path / "cache"
