"""A run that is killed or interrupted goes on: no finished trial is repeated, nothing but the epoch in flight is."""

from __future__ import annotations

import os
import signal
from collections import Counter

from tests.cluster.polling import wait_until
from tests.run.workspace import Workspace

TRIALS, EPOCHS, SLOTS = 4, 6, 1


def long_search(workspace: Workspace) -> None:
    """Trials long enough to be caught in the middle."""
    workspace.write(
        training={"epochs": EPOCHS, "batchSize": 2},
        search={
            "trials": TRIALS,
            "parallel": SLOTS,
            "parameters": [{"path": "training.optimizer.lr", "logUniform": {"min": 1e-5, "max": 1e-3}}],
        },
    )


def wait_for_the_middle(workspace: Workspace) -> None:
    """Waits until one trial is over and another has trained an epoch."""

    def missing() -> str | None:
        ended = sum(line["event"] == "end" for line in workspace.journal())
        middle = ended >= 1 and len(workspace.reports()) >= EPOCHS + 2
        return None if middle else f"{ended} trials ended, {len(workspace.reports())} epochs reported"

    wait_until("the middle of the search", missing, seconds=180)


def assert_whole(workspace: Workspace, lost_epochs: int) -> None:
    """Every trial once and to its end; at most `lost_epochs` epochs were trained twice."""
    result = workspace.result()
    assert [trial["name"] for trial in result["trials"]] == [f"trial-{ordinal:04}" for ordinal in range(TRIALS)]
    assert [trial["epochs"] for trial in result["trials"]] == [EPOCHS] * TRIALS
    reported = Counter((line["trial"], line["report"]["epoch"]) for line in workspace.reports())
    assert set(reported.values()) == {1}
    assert len(workspace.trained()) - len(reported) <= lost_epochs


def test_killed_without_warning_it_goes_on_when_run_again(workspace: Workspace) -> None:
    long_search(workspace)
    first = workspace.start("run")
    wait_for_the_middle(workspace)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(timeout=30)
    ended = [line["trial"] for line in workspace.journal() if line["event"] == "end"]
    assert not (workspace.output / "result.json").exists()
    again = workspace.thaw("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_whole(workspace, lost_epochs=SLOTS)
    trained_after = again.stdout.split("search ")[1]
    assert all(f"trial-{trial:04}  epoch" not in trained_after for trial in ended)


def test_interrupted_it_says_so_and_goes_on_when_run_again(workspace: Workspace) -> None:
    long_search(workspace)
    first = workspace.start("run")
    wait_for_the_middle(workspace)
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 130
    assert "interrupted" in (workspace.folder / "started.log").read_text(encoding="utf-8")
    again = workspace.thaw("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_whole(workspace, lost_epochs=SLOTS)


def test_two_runs_into_one_folder_do_not_mix(workspace: Workspace) -> None:
    long_search(workspace)
    first = workspace.start("run")
    wait_until(
        "the first run holds the folder",
        lambda: None if (workspace.output / "logs" / "driver.log").exists() else "no log yet",
        seconds=60,
    )
    second = workspace.thaw("run")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(timeout=30)
    assert second.returncode != 0
    assert "another run" in second.stderr


def test_checkpoints_that_no_journal_knows_of_are_not_gone_on_from(workspace: Workspace) -> None:
    for lr in (1e-3, 1e-4):
        workspace.write(training={"epochs": 2, "optimizer": {"lr": lr}}, search={})
        done = workspace.thaw("run")
        assert done.returncode == 0, done.stdout + done.stderr
        (workspace.output / "journal.jsonl").rename(workspace.folder / f"journal-{lr}")
        (workspace.output / "result.json").unlink()
    assert len(workspace.trained()) == 4
