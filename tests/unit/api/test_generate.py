"""The command that writes and checks the generated files."""

from pathlib import Path

import pytest

from thaw_api.generate import generated_files, main

ROOT = Path(__file__).resolve().parents[3]


def test_the_files_of_the_checkout_are_what_the_models_say() -> None:
    for name, text in generated_files().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run `make generate`"


def test_what_is_written_does_not_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write", str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", list(generated_files()))
def test_a_file_that_differs_is_shown_as_a_diff(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--write", str(tmp_path)])
    file = tmp_path / name
    text = file.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    file.write_text(text.replace(first, "another first line", 1), encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "-another first line" in shown
    assert f"+{first}" in shown


@pytest.mark.parametrize("name", list(generated_files()))
def test_a_file_that_is_not_there_differs(name: str, tmp_path: Path) -> None:
    main(["--write", str(tmp_path)])
    (tmp_path / name).unlink()
    assert main(["--check", str(tmp_path)]) == 1
