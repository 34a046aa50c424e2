"""The driver's lines in its pod's log."""

import sys
from pathlib import Path

import pytest

from thaw_trainer.cluster.pod_log import also_to_pod


def own_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Sends what is printed to a file, the driver's own output."""
    # Called by each test, and no fixture: pytest sets its own output between a fixture and the test.
    file = tmp_path / "own"
    monkeypatch.setattr(sys, "stdout", file.open("w", encoding="utf-8"))
    return file


def test_in_a_pod_lines_go_to_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = own_output(monkeypatch, tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    also_to_pod(tmp_path / "pod")
    print("trial-0001", flush=True)
    assert own.read_text() == (tmp_path / "pod").read_text() == "trial-0001\n"


def test_a_pods_log_that_cannot_be_written_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = own_output(monkeypatch, tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    also_to_pod(tmp_path)
    print("one", flush=True)
    also_to_pod(Path("/dev/full"))
    print("two", flush=True)
    assert own.read_text() == "one\ntwo\n"


def test_outside_of_a_pod_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_output(monkeypatch, tmp_path)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    also_to_pod(tmp_path / "pod")
    print("trial-0001", flush=True)
    assert not (tmp_path / "pod").exists()
