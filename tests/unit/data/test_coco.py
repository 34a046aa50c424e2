"""COCO's json to examples, and what is refused of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.data.reading import examples_of
from tests.unit.tiny_objects import Coco, TinyObjects, annotations_of, write_annotations, write_rectangles
from thaw_api.data import DataSpec
from thaw_trainer.data.coco import COCO, coco_digest
from thaw_trainer.data.examples import Examples
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError
from thaw_trainer.tasks.object_detection import KIND

FIELD = "spec.data.train"


def read(path: Path) -> Examples:
    data = DataSpec.model_validate({"train": {"uri": "file:x"}})
    return examples_of(COCO, data, path, FIELD)


def one_picture(folder: Path, width: int = 20, height: int = 10, **annotation: Any) -> Path:
    """A folder with one picture that has one box, [2, 3, 4, 5] unless the annotation says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(folder / "a.png")
    box = {"id": 7, "image_id": 1, "category_id": 3, "bbox": [2, 3, 4, 5]}
    images = [{"id": 1, "file_name": "a.png", "width": width, "height": height}]
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    write_annotations(folder, {"images": images, "annotations": [box | annotation], "categories": categories})
    return folder


def test_a_box_is_kept_as_shares_of_its_images_sides(tmp_path: Path) -> None:
    found = read(one_picture(tmp_path))
    assert found.columns["boxes"][0] == pytest.approx(np.asarray([[2 / 20, 3 / 10, 6 / 20, 8 / 10]]))
    assert found.columns["category"] == [["cat"]]
    assert found.columns["crowd"] == [[False]]


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 30)] * 2), st.tuples(*[st.integers(1, 30)] * 2))
def test_shares_of_the_sides_are_the_box_again(corner: tuple[int, int], sides: tuple[int, int]) -> None:
    (left, top), (width, height) = corner, sides
    with tempfile.TemporaryDirectory() as folder:
        found = read(one_picture(Path(folder), 61, 67, bbox=[left, top, width, height]))
    shares = found.columns["boxes"][0] * [61, 67, 61, 67]
    assert shares == pytest.approx(np.asarray([[left, top, left + width, top + height]]))


def test_what_rounding_leaves_beyond_the_edge_is_cut_off(tmp_path: Path) -> None:
    found = read(one_picture(tmp_path, bbox=[-0.5, 3, 20.9, 7.2]))
    assert found.columns["boxes"][0].tolist() == [[0, 0.3, 1, 1]]


def test_a_picture_that_is_shown_turned_has_the_size_that_is_seen(tmp_path: Path) -> None:
    one_picture(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 20)).save(tmp_path / "a.png", exif=exif)
    assert read(tmp_path).columns["boxes"][0][0, 2] == pytest.approx(6 / 20)


def _beside(folder: Path) -> Path:
    return folder / "_annotations.coco.json"


def _in_a_folder_of_their_own(folder: Path) -> Path:
    (folder / "images").mkdir()
    (folder / "a.png").rename(folder / "images" / "a.png")
    return folder


def _as_coco_has_them(folder: Path) -> Path:
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    (folder / "a.png").rename(folder / "train2017" / "a.png")
    return (folder / "_annotations.coco.json").rename(folder / "annotations" / "instances_train2017.json")


@pytest.mark.parametrize("arrange", [_beside, _in_a_folder_of_their_own, _as_coco_has_them])
def test_images_are_found_where_people_have_them(arrange: Callable[[Path], Path], tmp_path: Path) -> None:
    path = arrange(one_picture(tmp_path / "data"))
    assert read(path).columns["category"] == [["cat"]]
    assert len(coco_digest(path, FIELD)) == 16


def test_a_source_is_another_when_an_image_or_a_box_of_it_changes(tmp_path: Path) -> None:
    first = coco_digest(one_picture(tmp_path), FIELD)
    Image.new("RGB", (20, 10), (0, 0, 1)).save(tmp_path / "a.png")
    second = coco_digest(tmp_path, FIELD)
    one_picture(tmp_path, bbox=[2, 3, 4, 6])
    assert len({first, second, coco_digest(tmp_path, FIELD)}) == 3


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"bbox": [2, 3, 0, 5]}, r"row 0: annotation 7 has a box without an area: bbox \[2, 3, 0, 5\] in 20 x 10"),
        ({"bbox": [2, 3, 4, -5]}, "annotation 7 has a box without an area"),
        ({"bbox": [20.5, 3, 0.4, 5]}, "annotation 7 has a box without an area"),
        ({"bbox": [2, 3, 20, 5]}, r"annotation 7 has a box outside its image: bbox \[2, 3, 20, 5\] in 20 x 10"),
        ({"bbox": [-2, 3, 10, 5]}, "annotation 7 has a box outside its image"),
        ({"bbox": [2, 3, 4]}, r"annotation 7 has a box that is not four numbers \[x, y, width, height\]"),
        ({"bbox": [2, 3, 4, "5"]}, "annotation 7 has a box that is not four numbers"),
        ({"category_id": 9}, r"1 annotations of a category that is not there: 7 \(category_id 9\)"),
        ({"image_id": 2}, r"1 annotations of an image that is not there: 7 \(image_id 2\)"),
        ({"image_id": None}, "1 items of annotations without image_id: 0"),
        ({"image_id": [1]}, "1 items of annotations whose image_id is no number or text: 0"),
    ],
)
def test_an_annotation_that_is_wrong_is_named(annotation: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=says) as refused:
        read(one_picture(tmp_path, **annotation))
    assert refused.value.reason == DATA_INVALID
    assert refused.value.field == f"{FIELD}.uri"


def _twice(name: str) -> Callable[[Path, Coco], None]:
    return lambda folder, written: written[name].append(written[name][0])


def _of_another_size(folder: Path, written: Coco) -> None:
    written["images"][0]["width"] = 21


def _lost(folder: Path, written: Coco) -> None:
    (folder / "a.png").unlink()


def _no_image(folder: Path, written: Coco) -> None:
    (folder / "a.png").write_bytes(b"no image")


def _leading_out(folder: Path, written: Coco) -> None:
    written["images"][0]["file_name"] = "../a.png"


def _without_categories(folder: Path, written: Coco) -> None:
    del written["categories"]


def _without_images(folder: Path, written: Coco) -> None:
    written["images"], written["annotations"] = [], []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_twice("images"), "1 images whose id another has too: 1"),
        (_twice("annotations"), "1 annotations whose id another has too: 7"),
        (_twice("categories"), "1 categories whose id another has too: 3"),
        (_of_another_size, "a.png is 20 x 10, not 21 x 10 as is written of it"),
        (_lost, "1 images that are not in .*: a.png"),
        (_no_image, "a.png cannot be read"),
        (_leading_out, r"1 images whose file_name leads out of their folder: \.\./a.png"),
        (_without_categories, "has no list 'categories'"),
        (_without_images, "has no images"),
    ],
)
def test_a_file_that_is_wrong_says_how(spoil: Callable[[Path, Coco], None], says: str, tmp_path: Path) -> None:
    written = annotations_of(one_picture(tmp_path))
    spoil(tmp_path, written)
    write_annotations(tmp_path, written)
    with pytest.raises(TrainerError, match=says) as refused:
        read(tmp_path)
    assert refused.value.field == f"{FIELD}.uri"
    assert refused.value.reason in (DATA_INVALID, DATA_UNREADABLE)


def test_a_folder_has_one_file_of_annotations(tmp_path: Path) -> None:
    one_picture(tmp_path)
    (tmp_path / "_annotations.coco.json").rename(tmp_path / "one.json")
    shutil.copy(tmp_path / "one.json", tmp_path / "two.json")
    with pytest.raises(TrainerError, match=r"it has several: one\.json, two\.json; name one in uri"):
        read(tmp_path)
    (tmp_path / "two.json").unlink()
    assert len(read(tmp_path)) == 1
    (tmp_path / "one.json").write_text("[]")
    with pytest.raises(TrainerError, match="no object of images"):
        read(tmp_path)
    (tmp_path / "one.json").write_text("{")
    with pytest.raises(TrainerError, match="no readable json") as refused:
        read(tmp_path)
    assert refused.value.reason == DATA_UNREADABLE
    (tmp_path / "one.json").unlink()
    with pytest.raises(TrainerError, match="it has none"):
        read(tmp_path)


def test_an_image_that_breaks_off_is_named_when_it_is_decoded(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    file = tmp_path / "pictures" / "003.png"
    Image.open(file).convert("RGB").save(tmp_path / "whole.jpg")
    file.write_bytes((tmp_path / "whole.jpg").read_bytes()[:700])
    with pytest.raises(TrainerError, match=r"003\.png is no readable image") as refused:
        KIND.prepare(tiny.spec(), tiny.files)
    assert refused.value.reason == DATA_UNREADABLE


def facts(tiny: TinyObjects, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return PreparedStore(KIND.prepare(tiny.spec(changes), tiny.files)).facts


def test_images_without_boxes_are_background_and_counted(tmp_path: Path) -> None:
    counts = facts(TinyObjects(tmp_path))["counts"]
    assert counts["read"] == 40
    assert counts["imagesWithoutBoxes"] == 10
    assert sum(counts[f"boxes{split}"] for split in ("Train", "Validation", "Test")) == 60
    assert (counts["train"], counts["validation"], counts["test"]) == (24, 8, 8)


def test_labels_are_the_categories_that_have_boxes(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    written = annotations_of(tmp_path / "pictures")
    written["categories"].append({"id": 99, "name": "yellow"})
    write_annotations(tmp_path / "pictures", written)
    assert facts(tiny)["labels"] == ["blue", "green", "red"]


def test_a_source_of_its_own_may_number_its_categories_otherwise(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    write_rectangles(tmp_path / "more", 8, seed=1)
    written = annotations_of(tmp_path / "more")
    number = {10: 3, 20: 1, 30: 2}
    for entry in written["categories"]:
        entry["id"] = number[entry["id"]]
    for entry in written["annotations"]:
        entry["category_id"] = number[entry["category_id"]]
    changes = {"data.test": {"uri": "file:more"}}
    write_annotations(tmp_path / "more", written)
    test = PreparedStore(KIND.prepare(tiny.spec(changes), tiny.files)).table("test")
    name = {entry["id"]: entry["name"] for entry in written["categories"]}
    expected = [["blue", "green", "red"].index(name[entry["category_id"]]) for entry in written["annotations"]]
    assert [each for row in test["category"].to_pylist() for each in row] == expected


def test_a_source_of_its_own_with_another_category_is_refused(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    write_rectangles(tmp_path / "more", 8, seed=1)
    written = annotations_of(tmp_path / "more")
    written["categories"][0]["name"] = "violet"
    write_annotations(tmp_path / "more", written)
    with pytest.raises(TrainerError, match="validation has boxes of categories that train has none of: violet") as told:
        facts(tiny, {"data.validation": {"uri": "file:more"}})
    assert told.value.field == "spec.data.validation"


def test_a_split_without_a_box_is_refused(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    write_rectangles(tmp_path / "more", 8, seed=1, most=0)
    with pytest.raises(TrainerError, match="none of the 8 images of test has a box") as refused:
        facts(tiny, {"data.test": {"uri": "file:more"}})
    assert refused.value.field == "spec.data.test"


def test_images_of_one_group_stay_together(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    written = annotations_of(tmp_path / "pictures")
    for index, entry in enumerate(written["images"]):
        entry["film"] = index // 4
    write_annotations(tmp_path / "pictures", written)
    store = PreparedStore(KIND.prepare(tiny.spec({"data.split.groupBy": "film"}), tiny.files))
    films = {split: {row // 4 for row in store.table(split)["id"].to_pylist()} for split in ("train", "test")}
    assert not films["train"] & films["test"]


def test_a_copy_of_a_training_image_leaves_what_is_held_out(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    write_rectangles(tmp_path / "more", 8, seed=1)
    shutil.copy(tmp_path / "pictures" / "001.png", tmp_path / "more" / "001.png")
    counts = facts(tiny, {"data.test": {"uri": "file:more"}, "data.split": {"validation": 0.2, "test": 0.0}})["counts"]
    assert counts["duplicatesOutOfTest"] == 1
    assert counts["test"] == 7


def test_a_crowd_is_kept_apart_and_counted(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path)
    written = annotations_of(tmp_path / "pictures")
    for entry in written["annotations"][:30]:
        entry["iscrowd"] = 1
    write_annotations(tmp_path / "pictures", written)
    found = facts(tiny)["counts"]
    assert found["boxesOfCrowds"] == 30
    assert sum(found[f"boxes{split}"] for split in ("Train", "Validation", "Test")) == 30


def test_the_file_is_json_that_others_write(tmp_path: Path) -> None:
    """Keys that are not read (segmentation, area, info, licences) do no harm."""
    one_picture(tmp_path, segmentation=[[0, 0, 1, 1]], area=20.0)
    written = annotations_of(tmp_path) | {"info": {"year": 2017}, "licenses": []}
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(written))
    assert len(read(tmp_path)) == 1
