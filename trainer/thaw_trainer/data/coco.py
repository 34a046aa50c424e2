"""Annotations in COCO's json (https://cocodataset.org/#format-data) as examples: an image each, with the boxes in it.

A file that contradicts itself is refused, with the ids of what is wrong. An image that cannot be read or has a wrong
box is a bad row as a whole: a box that is left out would teach that there is nothing where there is something.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.examples import Columns, Reader
from thaw_trainer.data.images import content_digest
from thaw_trainer.data.rows import Rows
from thaw_trainer.data.store import digest, file_digest
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError

Entry: TypeAlias = Mapping[str, Any]
"""One item of a list of the file."""

_NAMES = ("_annotations.coco.json", "annotations.json")
"""Files that a folder's annotations are looked for in; else its only one that ends in .json."""
_ANNOTATIONS = "annotations"
"""Folder beside those of the images, in COCO's own layout."""
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
"""Exif's tag, and its values that exchange width and height."""
_BEYOND = 1.0
"""Pixels that a box may reach over the edge, as rounding leaves them; they are cut off."""
_NAMED = 5
_NO_BOX = (0.0, 0.0, 1.0, 1.0)
"""Stands where none can be read."""


def annotations_file(path: Path, field: str) -> Path:
    """The json file that a source is or has.

    Raises:
        TrainerError: DataInvalid, for a folder without one, or with several.
    """
    if path.is_file():
        return path
    named = [path / name for name in _NAMES if (path / name).is_file()]
    found = named or sorted(path.glob("*.json"))
    if len(found) == 1 or named:
        return found[0]
    has = f"several: {', '.join(file.name for file in found[:_NAMED])}; name one in uri" if found else "none"
    raise TrainerError(
        DATA_INVALID, f"{path} has to have one file of annotations, *.json; it has {has}", f"{field}.uri"
    )


def coco_digest(path: Path, field: str) -> str:
    """A short name for all bytes of a source: the annotations, and the images that they are about.

    Raises:
        TrainerError: DataUnreadable or DataInvalid.
    """
    file = annotations_file(path, field)
    images = _image_files(file, _entries(_read_json(file, field), "images", ("id", "file_name"), file, field), field)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(file_digest, images))
    return digest(file_digest(file), digests)


def _open(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    """The table has what the file says of each image, and the columns that `_parse` reads."""
    file = annotations_file(path, field)
    written = _read_json(file, field)
    images = _entries(written, "images", ("id", "file_name"), file, field)
    categories = _entries(written, "categories", ("id", "name"), file, field)
    annotations = _entries(written, "annotations", ("id", "image_id", "category_id", "bbox"), file, field)
    if not images:
        raise TrainerError(DATA_INVALID, f"{file.name} has no images", f"{field}.uri")
    for kind, entries, key in (
        ("images", images, "id"),
        ("images", images, "file_name"),
        ("categories", categories, "id"),
        ("categories", categories, "name"),
        ("annotations", annotations, "id"),
    ):
        repeated = [str(value) for value, count in Counter(each[key] for each in entries).items() if count > 1]
        _refuse(repeated, f"{kind} whose {key} another has too", file, field)
    names = {each["id"]: str(each["name"]) for each in categories}
    place = {each["id"]: index for index, each in enumerate(images)}
    for lacking, known, what in (("image_id", place, "an image"), ("category_id", names, "a category")):
        lost = [f"{each['id']} ({lacking} {each[lacking]})" for each in annotations if each[lacking] not in known]
        _refuse(lost, f"annotations of {what} that is not there", file, field)
    files = _image_files(file, images, field)
    rows = Rows(_table(images))
    sizes = _sizes(files, images, rows, field)
    boxes: list[list[list[float]]] = [[] for _ in images]
    category: list[list[str]] = [[] for _ in images]
    crowd: list[list[bool]] = [[] for _ in images]
    for each, box in zip(annotations, _boxes(annotations, place, sizes, rows, field), strict=True):
        image = place[each["image_id"]]
        boxes[image].append(box.tolist())
        category[image].append(names[each["category_id"]])
        crowd[image].append(bool(each.get("iscrowd", 0)))
    for name, values in (
        ("image", pa.array([str(each) for each in files])),
        ("boxes", pa.array(boxes, pa.list_(pa.list_(pa.float64())))),
        ("category", pa.array(category, pa.list_(pa.string()))),
        ("crowd", pa.array(crowd, pa.list_(pa.bool_()))),
    ):
        rows = rows.replacing(name, name, values)
    return rows


def _parse(data: DataSpec, rows: Rows) -> Columns:
    """Examples of columns `image` (the file), `content` (a digest of its bytes), `boxes` (float64 [boxes, 4]: left,
    top, right, bottom as shares of width and height), `category` (a name each) and `crowd` (whether a box is around
    several that are not told apart)."""
    found = {name: rows.table[name].to_pylist() for name in ("image", "boxes", "category", "crowd")}
    return found | {
        "content": [content_digest(each) for each in found["image"]],
        "boxes": [np.asarray(each, dtype=np.float64).reshape(-1, 4) for each in found["boxes"]],
    }


COCO = Reader(_open, _parse, identity="content", roles=("image", "boxes", "category"), of_files=True)
"""Reads COCO's annotations, a row for each image."""


def _read_json(file: Path, field: str) -> dict[str, Any]:
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError(DATA_UNREADABLE, f"{file} is no readable json: {error}", f"{field}.uri") from error
    if not isinstance(written, dict):
        raise TrainerError(DATA_INVALID, f"{file} is no object of images, annotations, categories", f"{field}.uri")
    return written


def _entries(written: dict[str, Any], name: str, keys: tuple[str, ...], file: Path, field: str) -> list[Entry]:
    """One of the file's lists, whose every item has these keys."""
    found = written.get(name)
    if not isinstance(found, list):
        raise TrainerError(
            DATA_INVALID,
            f"{file.name} has no list {name!r}; COCO's has images, annotations, categories",
            f"{field}.uri",
        )
    for key in keys:
        lacking = [
            str(index) for index, each in enumerate(found) if not isinstance(each, dict) or each.get(key) is None
        ]
        _refuse(lacking, f"items of {name} without {key}", file, field)
        if key != "bbox":
            odd = [str(index) for index, each in enumerate(found) if not isinstance(each[key], str | int)]
            _refuse(odd, f"items of {name} whose {key} is no number or text", file, field)
    return found


def _image_files(file: Path, images: Sequence[Entry], field: str) -> list[Path]:
    """Where the images are: below the first of the folders that has the first of them."""
    outside = [name for each in images if _leads_out(name := str(each["file_name"]))]
    _refuse(outside, "images whose file_name leads out of their folder", file, field)
    roots = [file.parent, file.parent / "images"]
    if file.parent.name == _ANNOTATIONS:
        above, split = file.parent.parent, file.stem.rpartition("_")[2]
        roots += [above / split, above / "images" / split, above / "images", above]
    first = str(images[0]["file_name"]) if images else ""
    root = next((root for root in roots if (root / first).is_file()), file.parent)
    found = [root / str(each["file_name"]) for each in images]
    lost = [str(each["file_name"]) for each, image in zip(images, found, strict=True) if not image.is_file()]
    _refuse(lost, f"images that are not in {root}", file, field)
    return found


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts


def _sizes(files: Sequence[Path], images: Sequence[Entry], rows: Rows, field: str) -> list[tuple[int, int]]:
    """Width and height of each image as a viewer shows it, from its first bytes; anything for one that is bad."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_size, files))
    sizes = []
    for place, (each, file, size) in enumerate(zip(images, files, found, strict=True)):
        if isinstance(size, str):
            rows.mark(place, f"{file.name} cannot be read: {size}", f"{field}.uri", DATA_UNREADABLE)
            sizes.append((1, 1))
            continue
        written = (each.get("width", size[0]), each.get("height", size[1]))
        if written != size:
            message = f"{file.name} is {size[0]} x {size[1]}, not {written[0]} x {written[1]} as is written of it"
            rows.mark(place, message, f"{field}.uri")
        sizes.append(size)
    return sizes


def _size(file: Path) -> tuple[int, int] | str:
    try:
        with Image.open(file) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION) in _TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error)
    return (height, width) if turned else (width, height)


def _boxes(
    annotations: Sequence[Entry],
    place: Mapping[Any, int],
    sizes: Sequence[tuple[int, int]],
    rows: Rows,
    field: str,
) -> list[NDArray[np.float64]]:
    """Each annotation's box: left, top, right, bottom as shares of its image's sides; anything where the image is
    bad."""
    odd = np.asarray([not _is_box(each["bbox"]) for each in annotations], dtype=np.bool_)
    given = [_NO_BOX if is_odd else each["bbox"] for each, is_odd in zip(annotations, odd, strict=True)]
    corners = np.asarray(given, dtype=np.float64).reshape(-1, 4)
    empty: NDArray[np.bool_] = np.any(corners[:, 2:] <= 0, axis=1)
    corners[:, 2:] += corners[:, :2]
    sides = np.asarray([sizes[place[each["image_id"]]] for each in annotations], dtype=np.float64).reshape(-1, 2)
    outside: NDArray[np.bool_] = np.any(corners < -_BEYOND, axis=1) | np.any(corners[:, 2:] > sides + _BEYOND, axis=1)
    inside = np.clip(corners, 0, np.tile(sides, 2))
    empty |= np.any(inside[:, 2:] <= inside[:, :2], axis=1) & ~outside
    for found, what in (
        (odd, "a box that is not four numbers [x, y, width, height]"),
        (empty, "a box without an area"),
        (outside, "a box outside its image"),
    ):
        for index in np.flatnonzero(found).tolist():
            each, (width, height) = annotations[index], sides[index]
            message = f"annotation {each['id']} has {what}: bbox {each['bbox']} in {width:.0f} x {height:.0f}"
            rows.mark(place[each["image_id"]], message, f"{field}.uri")
    return list(inside / np.tile(sides, 2))


def _is_box(written: Any) -> bool:
    numbers = isinstance(written, list) and len(written) == 4
    return numbers and all(isinstance(x, int | float) and math.isfinite(x) for x in written)


def _refuse(found: Iterable[str], what: str, file: Path, field: str) -> None:
    """Raises an error that says how many there are of what is wrong, and which."""
    wrong = list(found)
    if wrong:
        which = ", ".join(wrong[:_NAMED]) + ", …" * (len(wrong) > _NAMED)
        raise TrainerError(DATA_INVALID, f"{file.name} has {len(wrong)} {what}: {which}", f"{field}.uri")


def _table(images: Sequence[Entry]) -> pa.Table:
    """What is written of every image, as text."""
    names = [name for name in images[0] if all(isinstance(each.get(name), str | int | float) for each in images)]
    return pa.table({name: pa.array([str(each[name]) for each in images]) for name in names})
