"""A disk that fills up ends the run with one message, and nothing half-written looks whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run.workspace import Workspace


@pytest.fixture
def small_disk(tmp_path: Path, cannot_run: Callable[[str, str], None]) -> Iterator[Path]:
    """A file system of 400 KiB."""
    if os.geteuid() != 0:
        cannot_run("full disk", "mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_one_message_with_the_outputs_field(workspace: Workspace, small_disk: Path) -> None:
    workspace.write(
        training={"epochs": 30, "batchSize": 4},
        search={
            "trials": 3,
            "parallel": 1,
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-3}}],
        },
    )
    (small_disk / "filler").write_bytes(b"0" * 280_000)
    outcome = workspace.thaw("run", "--output", str(small_disk / "out"))
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr
    assert "OutputNotWritable" in outcome.stderr
    assert "spec.output.uri" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (small_disk / "out" / "result.json").exists()
    assert not (small_disk / "out" / "model").exists()
