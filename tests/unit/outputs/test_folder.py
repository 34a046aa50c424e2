"""One run at a time writes to an output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from thaw_trainer.errors import OUTPUT_NOT_WRITABLE, TrainerError
from thaw_trainer.outputs.folder import OutputFolder


def test_a_second_run_is_refused_at_once(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "out")
    with output.locked(), pytest.raises(TrainerError, match="another run is writing") as caught, output.locked():
        pass
    assert (caught.value.reason, caught.value.cause) == (OUTPUT_NOT_WRITABLE, "infrastructure")
    with output.locked():
        pass


def test_a_run_that_may_wait_gets_the_folder_when_the_other_ends(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "out")
    first, waited = output.locked(), []
    first.__enter__()

    def wait() -> bool:
        waited.append(True)
        if len(waited) == 3:
            first.__exit__(None, None, None)
        return True

    with output.locked(wait):
        assert len(waited) == 3


def test_a_run_that_has_waited_enough_is_refused(tmp_path: Path) -> None:
    output, answers = OutputFolder(tmp_path / "out"), [True, True, False]
    with (
        output.locked(),
        pytest.raises(TrainerError, match="another run is writing"),
        output.locked(lambda: answers.pop(0)),
    ):
        pass
    assert not answers


def test_a_folder_that_cannot_be_made_is_the_outputs_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match="cannot be written") as caught, OutputFolder(tmp_path / "file").locked():
        pass
    assert (caught.value.field, caught.value.cause) == ("spec.output.uri", "infrastructure")


def test_checkpoints_are_removed_and_nothing_beside_them(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path)
    for folder in (output.checkpoints("trial-0003"), output.first_phase("key"), output.checkpoints("of-somebody")):
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}", encoding="utf-8")
    output.remove_checkpoints()
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["of-somebody"]
