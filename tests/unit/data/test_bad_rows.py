"""Rows that cannot be used: few are left out and told, more end the job."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.tiny_jobs import TinyJob
from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.examples import ROW, SPLITS, TEST_ROWS, read_splits, usable
from thaw_trainer.data.images import LABELLED_IMAGES, write_all_pixels
from thaw_trainer.data.questions import QUESTIONS
from thaw_trainer.data.rows import BadRow, LeftOut
from thaw_trainer.data.sounds import decoded, reader
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import DATA_UNREADABLE, TrainerError
from thaw_trainer.models.image_files import ImageSettings


def data(refuse_above: float, **fields: Any) -> DataSpec:
    return DataSpec.model_validate({"train": {"uri": "file:x"}, "onBadRow": {"refuseAbove": refuse_above}, **fields})


def bad(*rows: int) -> list[BadRow]:
    return [BadRow(row, f"row {row} is odd", f"spec.field{row}", DATA_UNREADABLE) for row in rows]


@given(st.integers(2, 1000), st.floats(0, 1), st.data())
def test_a_share_of_the_rows_may_be_bad_and_one_more_may_not(rows: int, share: float, draw: st.DataObject) -> None:
    count = draw.draw(st.integers(1, rows - 1))
    left_out = LeftOut(data(share))
    if count <= share * rows:
        left_out.add("train", rows, bad(*range(count)))
        assert left_out.facts()["count"] == count
    else:
        with pytest.raises(TrainerError, match=f"{count} of {rows} rows of train"):
            left_out.add("train", rows, bad(*range(count)))


def test_the_first_bad_row_gives_the_refusal_its_reason_and_field() -> None:
    with pytest.raises(TrainerError, match="the first is row 4: row 4 is odd") as refused:
        LeftOut(data(0.01)).add("train", 100, bad(9, 4))
    assert (refused.value.reason, refused.value.field) == (DATA_UNREADABLE, "spec.field4")


def test_no_rows_at_all_are_never_left_out() -> None:
    with pytest.raises(TrainerError):
        LeftOut(data(1.0)).add("train", 3, bad(0, 1, 2))


def test_the_first_twenty_are_told_and_all_are_counted() -> None:
    left_out = LeftOut(data(1.0))
    left_out.add("train", 100, bad(*range(15)))
    left_out.add("test", 100, bad(*range(15)))
    told = left_out.facts()
    assert told["count"] == 30
    assert [(each["of"], each["row"]) for each in told["listed"]] == [
        *(("train", row) for row in range(15)),
        *(("test", row) for row in range(5)),
    ]


def test_a_row_without_a_value_leaves_the_table_and_the_numbers_of_all_others_stay(tmp_path: Path) -> None:
    job = TinyJob(tmp_path)
    texts = [{"text": f"text {row}", "label": "ab"[row % 2]} for row in range(40)]
    del texts[7]["text"]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, texts)))
    spec = job.spec({"data.train": {"uri": "file:rows.jsonl"}, "data.onBadRow": {"refuseAbove": 0.05}})
    store = PreparedStore(job.store(spec))
    ids = [row for name in SPLITS for row in store.table(name)["id"].to_pylist()]
    assert store.facts["badRows"]["listed"] == [
        {"of": "train", "row": 7, "why": "column 'text' lacks a value", "field": "spec.data.columns.text"}
    ]
    assert sorted(ids) == [row for row in range(40) if row != 7]


def folder_of_images(folder: Path) -> dict[str, Path]:
    """Twenty images of two labels, of which one is none."""
    for row in range(20):
        file = folder / "ab"[row % 2] / f"{row:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), row, np.uint8)).save(file)
    (folder / "a" / "04.png").write_bytes(b"no image")
    return {"train": folder}


def test_an_image_that_does_not_decode_leaves_its_split_and_the_others_keep_their_pixels(tmp_path: Path) -> None:
    paths = folder_of_images(tmp_path / "images")
    read = read_splits(data(0.2, split={"validation": 0.2, "test": 0.2}), paths, LABELLED_IMAGES)
    write_all_pixels(tmp_path, read, ImageSettings(size=4, resize=None, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert read.left_out.facts()["count"] == 1
    assert "04.png is no readable image" in read.left_out.facts()["listed"][0]["why"]
    for name, rows in read.splits.items():
        pixels = np.load(tmp_path / f"{name}.npy")
        shown = [int(Path(image).stem) for image in rows.columns["image"]]
        assert pixels[:, 0, 0, 0].tolist() == shown
        assert read.counts[name] == len(shown)


def test_a_sound_that_is_empty_or_none_leaves_its_split(tmp_path: Path) -> None:
    rows = []
    for row in range(20):
        soundfile.write(tmp_path / f"{row}.wav", np.full(160 if row != 3 else 0, row / 100), 16000)
        rows.append({"file_name": f"{row}.wav", "label": "ab"[row % 2]})
    (tmp_path / "5.wav").write_bytes(b"no sound")
    rows[9]["file_name"] = "lost.wav"
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = data(0.5, split={"validation": 0.2, "test": 0.2})
    read = read_splits(spec, {"train": tmp_path}, reader("label", from_folders=True))
    samples = {name: decoded(read, name, 16000) for name in list(read.splits)}
    told = read.left_out.facts()
    assert sorted(each["row"] for each in told["listed"]) == [3, 5, 9]
    for name, its in read.splits.items():
        assert [round(each[0] / 32768 * 100) for each in samples[name]] == its.ids.tolist()


def test_the_default_lets_one_in_a_hundred_pass() -> None:
    assert DataSpec.model_validate({"train": {"uri": "file:x"}}).on_bad_row.refuse_above == 0.01


def test_a_damaged_chunk_is_a_bad_image_and_a_renamed_column_is_the_one_that_is_compared(tmp_path: Path) -> None:
    images = []
    for row in range(20):
        buffer = io.BytesIO()
        Image.fromarray(np.full((64, 64, 3), row, np.uint8)).save(buffer, "PNG", exif=b"garbage" if row == 3 else b"")
        images.append(buffer.getvalue())
    pq.write_table(pa.table({"img": images + images[:2], "label": [*("ab" * 10), "a", "b"]}), tmp_path / "rows.parquet")
    clean = [{"dropDuplicates": {"by": ["img", "label"]}}, {"dropMissing": {}}]
    spec = data(0.5, split={"validation": 0.2, "test": 0.2}, columns={"image": "img"}, clean=clean)
    read = read_splits(spec, {"train": tmp_path / "rows.parquet"}, LABELLED_IMAGES)
    assert read.cleaning[0] == {"step": "dropDuplicates", "dropped": 2, "changed": 0, "rows": 20}
    write_all_pixels(tmp_path, read, ImageSettings(size=4, resize=None, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert [each["row"] for each in read.left_out.facts()["listed"]] == [3]
    folders = folder_of_images(tmp_path / "x")
    with pytest.raises(TrainerError, match="files are not looked into"):
        read_splits(data(0, clean=[{"dropDuplicates": {}}]), folders, LABELLED_IMAGES)


@pytest.mark.parametrize("answers", [{"text": [None], "answer_start": [0]}, {"text": ["c"], "answer_start": [0.5]}])
def test_an_answer_that_is_no_text_is_a_bad_row(tmp_path: Path, answers: dict[str, Any]) -> None:
    good = {"text": ["con"], "answer_start": [0]}
    told = [{"question": f"q{row}", "context": "context", "answers": good if row else answers} for row in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, told)))
    left_out = LeftOut(data(0.5))
    rows = QUESTIONS.open(data(0.5), DataSource(uri="file:x"), tmp_path / "rows.jsonl", "spec.data.train")
    examples, _ = usable(data(0.5), QUESTIONS, rows, "train", left_out)
    assert len(examples) == 19
    assert left_out.facts()["listed"][0]["row"] == 0


def test_a_missing_group_is_named_by_its_number_in_the_source(tmp_path: Path) -> None:
    told = [{"text": f"text {row}", "label": "ab"[row % 2], "g": None if row == 30 else "x"} for row in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, told)))
    job = TinyJob(tmp_path)
    clean = [{"filter": {"where": "text > 'text 2'"}}]
    changes = {"data.train": {"uri": "file:rows.jsonl"}, "data.clean": clean, "data.split": {"groupBy": "g"}}
    with pytest.raises(TrainerError, match="the first is row 30"):
        job.store(job.spec(changes))


def test_columns_with_one_name_that_nothing_reads_do_no_harm(tmp_path: Path) -> None:
    lines = ["text,label,k,k", *(f"text {row},{'ab'[row % 2]},1,2" for row in range(40))]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    job = TinyJob(tmp_path)
    store = PreparedStore(job.store(job.spec({"data.train": {"uri": "file:rows.csv"}})))
    assert store.table(TEST_ROWS).column_names == [ROW, "text", "label"]
