"""The journal survives whatever happens to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.search.searches import FAILURE, LR, Opened, report_of
from thaw_trainer.errors import (
    OUTPUT_NOT_WRITABLE,
    OUTPUT_OF_ANOTHER_JOB,
    TrainerError,
)
from thaw_trainer.search.journal import Journal, TrialRecord, earlier_trials


def test_a_half_written_last_line_is_taken_out_of_the_file(file: Path) -> None:
    opened = Opened(file)
    opened.train(opened.begin(), 2)
    opened.journal.close()
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event": "report", "trial": 0, "rep\xc3')
    again = Journal(file, "job")
    assert len(again.records[0].reports) == 2
    assert file.read_bytes() == whole


def test_a_journal_of_nothing_but_half_a_line_begins_anew(file: Path) -> None:
    file.write_text('{"event": "jo')
    journal = Journal(file, "job")
    assert not journal.interrupted
    assert json.loads(file.read_text()) == {"event": "job", "job": "job", "manifest": ""}


def test_a_folder_of_another_job_is_refused(file: Path) -> None:
    Journal(file, "job").close()
    with pytest.raises(TrainerError, match="another manifest") as caught:
        Journal(file, "other")
    assert (caught.value.reason, caught.value.field) == (OUTPUT_OF_ANOTHER_JOB, "spec.output.uri")
    assert Journal(file, "job").interrupted


def test_a_new_journal_is_not_an_interrupted_one(file: Path) -> None:
    assert not Journal(file, "job").interrupted


def test_what_a_new_journal_wants_done_is_done_before_it_is_there(file: Path) -> None:
    told: list[bytes] = []
    for _ in range(2):
        Journal(file, "job", on_new=lambda: told.append(file.read_bytes())).close()
    assert told == [b""], "once, and before the first line"


@given(st.text(max_size=20), st.text(max_size=20) | st.floats(allow_nan=False) | st.integers() | st.booleans())
def test_a_journal_gives_back_any_text(tmp_path_factory: pytest.TempPathFactory, message: str, value: Any) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(file, "job")
    record = TrialRecord(0, {"model.uri": value})
    journal.begin(record)
    journal.end(record, "failed", FAILURE | {"message": message})
    journal.close()
    assert Journal(file, "job").records == {0: record}


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\r", "\x1c", "\udcff"])
def test_a_line_separator_or_a_broken_character_in_a_message_breaks_no_line(file: Path, character: str) -> None:
    journal = Journal(file, "job")
    record = TrialRecord(0, {})
    journal.begin(record)
    journal.end(record, "failed", FAILURE | {"message": f"a{character}b"})
    journal.close()
    assert Journal(file, "job").records == {0: record}


def test_each_line_is_synced_before_the_search_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    journal = Journal(file, "job")
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(len(file.read_bytes().splitlines())))
    record = TrialRecord(0, {})
    journal.begin(record)
    journal.report(record, {"epoch": 1})
    journal.end(record, "succeeded")
    assert synced == [2, 3, 4]


def test_a_full_disk_is_an_error_that_names_the_output(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(file, "job")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TrainerError, match="No space left") as caught:
        journal.begin(TrialRecord(0, {}))
    assert (caught.value.reason, caught.value.cause) == (OUTPUT_NOT_WRITABLE, "infrastructure")


def test_earlier_trials_are_those_of_a_journal_of_the_same_manifest(file: Path) -> None:
    journal = Journal(file, "job", manifest="as it is")
    for ordinal in (1, 0):
        record = TrialRecord(ordinal, {LR: 0.1})
        journal.begin(record)
        journal.report(record, report_of(record))
    assert earlier_trials(file, "as it is") == [journal.records[0], journal.records[1]]
    assert earlier_trials(file, "another") == []


def test_earlier_trials_are_read_while_another_run_writes(file: Path) -> None:
    journal = Journal(file, "job", manifest="as it is")
    journal.begin(TrialRecord(0, {}))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"event": "report", "tri')
    assert [record.ordinal for record in earlier_trials(file, "as it is")] == [0]
    assert file.read_bytes() != whole, "it is not repaired under the other's hands"


@pytest.mark.parametrize("content", [None, b"", b'{"event": "jo', b"no journal\n", b"\xff\n"])
def test_without_a_readable_journal_there_are_no_earlier_trials(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    assert earlier_trials(file, "") == []
