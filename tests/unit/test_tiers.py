"""A tier that cannot run is named at the end of the run, or fails it where it is required."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
def test_one(cannot_run): cannot_run("api", "go is not on PATH")
def test_two(cannot_run): cannot_run("api", "go is not on PATH")
def test_three(): pass
"""


def run(folder: Path, required: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    settings = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    environ = {**os.environ, **settings, "THAW_REQUIRE": required}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


@pytest.mark.parametrize("required", ["", "cluster"])
def test_a_tier_that_nobody_requires_is_named_once_with_its_reason(tmp_path: Path, required: str) -> None:
    done = run(tmp_path, required)
    assert done.returncode == 0
    assert "1 passed, 2 skipped" in done.stdout
    assert done.stdout.count("api: go is not on PATH") == 1


@pytest.mark.parametrize("required", ["all", "api", "cluster, api"])
def test_a_required_tier_fails(tmp_path: Path, required: str) -> None:
    done = run(tmp_path, required)
    assert done.returncode == 1
    assert "the api tier cannot run: go is not on PATH" in done.stdout
    assert "tiers left out" not in done.stdout
