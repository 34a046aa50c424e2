"""Workspaces for the tests that run whole jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.workspace import Workspace, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace of this test's own."""
    return make_workspace(tmp_path)
