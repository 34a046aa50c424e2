"""A search that was cut off goes on as if it had not been."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.search.searches import (
    EPOCHS,
    TRIALS,
    Opened,
    told,
)
from thaw_api.search import SchedulerSpec
from thaw_trainer.reporting.events import TrialStarted
from thaw_trainer.search.journal import Journal
from thaw_trainer.search.ledger import Ledger, SearchLimits
from thaw_trainer.search.stopping import stopping_rule


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[tuple[Any, ...]], list[str]]]:
    """The story and the journal of a search that nothing interrupts."""
    found = {}
    for scheduler in ("none", "asha"):
        opened = Opened(tmp_path_factory.mktemp(scheduler) / "journal.jsonl", scheduler=scheduler)
        opened.search()
        found[scheduler] = opened.story(), opened.file.read_text().splitlines(keepends=True)
    return found


@pytest.mark.parametrize("scheduler", ["none", "asha"])
@pytest.mark.parametrize("half", [False, True])
def test_a_search_that_is_cut_off_after_any_line_goes_on_to_the_same_end(
    tmp_path: Path, whole: dict[str, Any], scheduler: str, half: bool
) -> None:
    story, lines = whole[scheduler]
    for cut in range(1, len(lines) + 1):
        file = tmp_path / f"{cut}.jsonl"
        half_written = lines[cut][: len(lines[cut]) // 2] if half and cut < len(lines) else ""
        file.write_text("".join(lines[:cut]) + half_written)
        opened = Opened(file, scheduler=scheduler)
        began = Counter(event.record.ordinal for event in opened.events if isinstance(event, TrialStarted))
        opened.search()
        began = Counter(event.record.ordinal for event in opened.events if isinstance(event, TrialStarted))
        assert all(count == 1 for count in began.values())
        found = opened.story()
        assert [each[:2] for each in found] == [each[:2] for each in story], "the same points"
        if scheduler == "none":
            assert found == story
        for ordinal, _, reports, state, _ in found:
            assert [report["epoch"] for report in reports] == list(range(1, len(reports) + 1)), ordinal
            assert state != "running"
        kept = [json.loads(line) for line in lines[:cut]]
        for entry in (each for each in kept if each["event"] == "end"):
            assert found[entry["trial"]] == story[entry["trial"]], "what had ended stays as it ended"
        assert file.read_text().startswith("".join(lines[:cut]))


def test_a_decision_that_a_crash_kept_out_of_the_journal_is_made_again(whole: dict[str, Any], tmp_path: Path) -> None:
    """The journal ends with the report after which its trial was ended."""
    cuts = 0
    for scheduler in ("none", "asha"):
        _, lines = whole[scheduler]
        for cut in range(1, len(lines)):
            end = json.loads(lines[cut])
            if end["event"] != "end" or end["state"] == "failed":
                continue
            cuts += 1
            file = tmp_path / f"{scheduler}-{cut}.jsonl"
            file.write_text("".join(lines[:cut]))
            opened = Opened(file, scheduler=scheduler)
            assert opened.journal.records[end["trial"]].state == end["state"]
            assert opened.file.read_text() == "".join(lines[: cut + 1])
            assert opened.events == [], "nobody is told before the search has started"
    assert cuts > TRIALS


def test_interrupted_trials_come_first(file: Path) -> None:
    opened = Opened(file)
    first, second = opened.begin(), opened.begin()
    opened.train(first, 2)
    opened.journal.close()
    again = Opened(file)
    assert again.ledger.has_more()
    found = [again.begin() for _ in range(3)]
    assert [record.ordinal for record in found] == [first.ordinal, second.ordinal, 2]
    assert len(found[0].reports) == 2


def test_points_are_told_what_earlier_runs_found(file: Path) -> None:
    opened = Opened(file)
    told(opened, 0.5, math.nan)
    opened.begin()
    heard: list[tuple[int, float | None]] = []

    class Listening:
        def suggest(self, ordinal: int) -> None:
            return None

        def tell(self, ordinal: int, point: Any, value: float | None) -> None:
            heard.append((ordinal, value))

    rule = stopping_rule(SchedulerSpec(), "max", EPOCHS, 1)
    limits = SearchLimits(TRIALS)
    Ledger(Journal(file, "job"), Listening(), rule, limits, "accuracy", "max", heard.append, lambda: 0.0)  # type: ignore[arg-type]
    assert heard == [(0, 0.5), (1, None)]
