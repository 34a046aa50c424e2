"""Reading a manifest's file, and overriding fields of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.manifests import job, text
from thaw_api import FieldError, InvalidManifest, read_job, read_jobs

EXAMPLES = sorted(Path(__file__).resolve().parents[3].glob("examples/*/*.yaml"))


def errors_of(manifest: Any, overrides: list[str] | None = None) -> list[FieldError]:
    with pytest.raises(InvalidManifest) as refused:
        read_job(manifest, overrides)
    return refused.value.errors


def written(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "job.yaml"
    file.write_text(content, encoding="utf-8")
    return file


def test_a_file_holds_several_jobs(tmp_path: Path) -> None:
    file = written(tmp_path, f"---\n{text(job(name='a'))}---\n{text(job(name='b'))}---\n")
    assert [read.metadata.name for read in read_jobs(file)] == ["a", "b"]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_example_is_right(file: Path) -> None:
    if "kind: FineTuneJob" in file.read_text(encoding="utf-8"):
        assert read_jobs(file)


def test_a_learning_rate_without_a_dot_is_a_number(tmp_path: Path) -> None:
    file = written(tmp_path, f"{text(job())}  training: {{optimizer: {{lr: 3e-4}}}}\n")
    assert read_jobs(file)[0].spec.training.optimizer.lr == 3e-4


def test_yes_is_a_boolean(tmp_path: Path) -> None:
    file = written(tmp_path, f"{text(job())}  suspend: yes\n")
    assert read_jobs(file)[0].spec.suspend is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no FineTuneJob"),
        ("# nothing\n---\n", "holds no FineTuneJob"),
        ("a: [", "is not YAML"),
        ("spec: {a: 1}\nspec: {}\n", "key 'spec' comes twice"),
    ],
)
def test_a_file_without_a_job_says_what_is_wrong_with_it(tmp_path: Path, content: str, message: str) -> None:
    file = written(tmp_path, content)
    with pytest.raises(InvalidManifest) as refused:
        read_jobs(file)
    (error,) = refused.value.errors
    assert error.path == str(file)
    assert message in error.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"absent\.yaml: no such file"):
        read_jobs(tmp_path / "absent.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidManifest, match="cannot be read"):
        read_jobs(file)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("training.optimizer.lr=3e-4", ("training", "optimizer", "lr"), 3e-4),
        ("spec.training.epochs=7", ("training", "epochs"), 7),
        ("suspend=yes", ("suspend",), True),
        ("data.columns={text: summary}", ("data", "columns"), {"text": "summary"}),
        ("output.uri=file:a=b", ("output", "uri"), "file:a=b"),
    ],
)
def test_an_override_sets_a_field_as_yaml_would(override: str, path: tuple[str, ...], value: Any) -> None:
    found = read_job(job(), [override]).spec.manifest()
    for part in path:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("override", "path", "message"),
    [
        ("training.epochs", "--set", "write path=value; found 'training.epochs'"),
        ("training epochs=3", "--set", "is not a path"),
        ("freezing.phases[0].name=a", "--set", "the manifest has no spec.freezing.phases"),
        ("training.epochs=[", "--set", "while parsing"),
        ("training.epochs=x", "spec.training.epochs", "must be a valid integer"),
        ("training.epoch=3", "spec.training.epoch", "did you mean epochs?"),
    ],
)
def test_an_override_that_cannot_be_made_says_why(override: str, path: str, message: str) -> None:
    (error,) = errors_of(job(), [override])
    assert error.path == path
    assert message in error.message
