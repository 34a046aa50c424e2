"""Folders and tables of images to pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.data.reading import examples_of
from tests.unit.tiny_images import SIZE, TinyImages, write_pictures
from thaw_api.data import DataSpec
from thaw_trainer.data.images import LABELLED_IMAGES, decode
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import TrainerError
from thaw_trainer.models.image_files import ImageSettings
from thaw_trainer.tasks.image_classification import KIND

HALF = (0.5, 0.5, 0.5)


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def data(**columns: str) -> DataSpec:
    return DataSpec.model_validate({"train": {"uri": "file:x"}, "columns": columns})


def read(path: Path, spec: DataSpec | None = None, **source: Any) -> Any:
    return examples_of(LABELLED_IMAGES, spec or data(), path, **source)


def test_an_image_of_its_size_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    assert (decode(png(pixels), ImageSettings(8, 8, HALF, HALF)) == pixels).all()


@given(st.integers(9, 40), st.integers(9, 40))
def test_the_middle_is_cut_out_of_the_scaled_image(height: int, width: int) -> None:
    """A picture of one colour per quarter: the centre's four quarters meet in the middle, whatever the sides."""
    pixels = np.zeros((height * 2, width * 2, 3))
    pixels[height:, :, 0], pixels[:, width:, 1] = 255, 255
    cut = decode(png(pixels), ImageSettings(8, 8, HALF, HALF, "nearest"))
    assert cut.shape == (8, 8, 3)
    assert cut[0, 0].tolist() == [0, 0, 0]
    assert cut[7, 7].tolist() == [255, 255, 0]
    assert (cut[:, :, 0] == cut[:, :1, 0]).all()
    assert abs(int((cut[:, 0, 0] > 0).sum()) - 4) <= 1


def test_grey_images_become_coloured_and_coloured_ones_grey() -> None:
    grey = np.full((8, 8), 120)
    assert (decode(png(grey), ImageSettings(8, None, HALF, HALF)) == 120).all()
    assert decode(png(np.full((8, 8, 3), 120)), ImageSettings(8, None, (0.5,), (0.5,))).shape == (8, 8, 1)


def test_a_picture_taken_upside_down_is_turned(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4] = 255
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=image.getexif())
    turned = decode(str(tmp_path / "turned.png"), ImageSettings(8, None, HALF, HALF))
    assert (turned[:4] == 0).all()
    assert (turned[4:] == 255).all()


def test_labels_are_the_names_of_folders(tmp_path: Path) -> None:
    examples = read(write_pictures(tmp_path / "pictures", 6))
    assert list(examples.columns["label"]) == ["diagonal"] * 2 + ["horizontal"] * 2 + ["vertical"] * 2
    (tmp_path / "pictures" / "loose.png").write_bytes(png(np.zeros((4, 4, 3))))
    with pytest.raises(TrainerError, match=r"outside a folder of their label, the first is loose\.png"):
        read(tmp_path / "pictures")


def test_an_empty_folder_says_what_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"no images \(\.jpg") as refused:
        read(tmp_path)
    assert refused.value.field == "spec.data.train.uri"


@pytest.mark.parametrize("as_struct", [True, False])
def test_a_table_holds_encoded_images(as_struct: bool, tmp_path: Path) -> None:
    encoded = [png(np.full((4, 4, 3), value)) for value in (10, 20)]
    values = [{"bytes": each, "path": None} for each in encoded] if as_struct else encoded
    pq.write_table(pa.table({"photo": values, "kind": ["a", "b"]}), tmp_path / "t.parquet")
    examples = read(tmp_path / "t.parquet", data(image="photo", label="kind"))
    assert list(examples.columns["image"]) == encoded
    assert list(examples.columns["label"]) == ["a", "b"]


def test_a_column_of_text_is_no_column_of_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "label": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(TrainerError, match="holds string, not encoded images") as refused:
        read(tmp_path / "t.parquet")
    assert refused.value.field == "spec.data.columns.image"


def test_a_corrupt_image_is_named_and_leaves_no_store(tmp_path: Path) -> None:
    tiny = TinyImages(tmp_path)
    broken = tmp_path / "pictures" / "vertical" / "999.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(TrainerError, match=r"999\.png is no readable image") as refused:
        KIND.prepare(tiny.spec(), tiny.files)
    assert refused.value.reason == "DataUnreadable"
    broken.unlink()
    assert PreparedStore(KIND.prepare(tiny.spec(), tiny.files)).facts["counts"]["read"] == 60


def test_a_copy_of_a_training_image_is_not_held_out(tmp_path: Path) -> None:
    tiny = TinyImages(tmp_path)
    original = tmp_path / "pictures" / "vertical" / "002.png"
    for number in range(40):
        (tmp_path / "pictures" / "vertical" / f"copy{number}.png").write_bytes(original.read_bytes())
    store = PreparedStore(KIND.prepare(tiny.spec(), tiny.files))
    counts = store.facts["counts"]
    assert counts["duplicatesOutOfValidation"] + counts["duplicatesOutOfTest"] > 0
    held = {
        np.load(store.folder / f"{split}.npy")[row].tobytes()
        for split in ("validation", "test")
        for row in range(counts[split])
    }
    trained = {image.tobytes() for image in np.load(store.folder / "train.npy")}
    assert not held & trained


def test_the_same_images_are_the_same_store_and_others_another(tmp_path: Path) -> None:
    tiny = TinyImages(tmp_path)
    first = KIND.prepare(tiny.spec(), tiny.files)
    assert KIND.prepare(tiny.spec(), tiny.files) == first
    assert KIND.prepare(tiny.spec({"data.features": [{"resize": {"size": SIZE * 2}}]}), tiny.files) != first
    (tmp_path / "pictures" / "vertical" / "new.png").write_bytes(png(np.full((4, 4, 3), 9)))
    assert KIND.prepare(tiny.spec(), tiny.files) != first
