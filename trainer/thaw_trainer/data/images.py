"""Labelled images to a prepared store: read, split, labels fitted on train, duplicates of train taken out of what is
held out, each image decoded and scaled once.

The pixels of a split are one .npy file of bytes [rows, height, width, channels] beside its table, mapped and not read.
"""

import hashlib
import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageOps

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.examples import (
    SPLITS,
    Columns,
    Examples,
    Reader,
    SplitExamples,
    class_counts,
    fingerprint,
    fit_labels,
    read_splits,
)
from thaw_trainer.data.rows import BadRow, Rows, encoded_column
from thaw_trainer.data.store import Made, digest, file_digest
from thaw_trainer.data.tables import read_table
from thaw_trainer.disk import writing
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError
from thaw_trainer.models.image_files import ImageSettings

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_ROWS_AT_A_TIME = 256
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def source_digest(path: Path) -> str:
    """A short name for all bytes of a source: a table, or a folder of images with their names."""
    files = [path] if path.is_file() else image_files(path)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(file_digest, files))
    names = [str(file.relative_to(path)) for file in files]
    return digest(names, digests)


def image_files(folder: Path) -> list[Path]:
    """The images below a folder, in order of their paths; what is hidden is left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _ENDINGS and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _open(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
    if path.is_dir():
        return Rows(_folder_table(path, data.column("image"), data.column("label"), field))
    if source.format == "imagefolder":
        raise TrainerError(DATA_INVALID, f"{path} is a file; an imagefolder is a folder", f"{field}.uri")
    return _bytes_rows(data, Rows(read_table(path, "parquet", field)))


def _parse(data: DataSpec, rows: Rows) -> Columns:
    """Examples of columns `image` (encoded bytes, or the file), `label` and `content`, a digest of the bytes."""
    images = rows.table[data.column("image")].to_pylist()
    return {
        "image": images,
        "label": rows.texts(data.column("label"), "spec.data.columns.label"),
        "content": ["" if each is None else content_digest(each) for each in images],
    }


LABELLED_IMAGES = Reader(_open, _parse, identity="content", roles=("image", "label"), of_files=True)
"""Reads folders of a label each, and tables of encoded images."""


def make_store(folder: Path, data: DataSpec, paths: dict[str, Path], settings: ImageSettings) -> Made:
    """Facts and tables of a store of labelled images, whose pixels are written into `folder`."""
    read = read_splits(data, paths, LABELLED_IMAGES)
    write_all_pixels(folder, read, settings)
    labels = fit_labels(read.splits)
    facts = _facts(read, labels) | {"classes": class_counts(read.splits, labels)}
    return read.made(facts, {name: _table(rows, labels) for name, rows in read.splits.items()})


def make_identities(folder: Path, data: DataSpec, paths: dict[str, Path], settings: ImageSettings) -> Made:
    """The same for images of identities, each of which is in one split only; `labels` are those of train.

    Raises:
        TrainerError: DataInvalid: sources that are given share an identity, or train has fewer than two.
    """
    read = read_splits(data, paths, LABELLED_IMAGES, apart_by=data.column("label"))
    write_all_pixels(folder, read, settings)
    splits = read.splits
    of = {name: sorted(set(rows.columns["label"])) for name, rows in splits.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        shared = sorted(set(of[one]) & set(of[other]))
        if shared:
            message = f"{one} and {other} share {len(shared)} identities, {shared[0]!r} for one: keep them apart"
            raise TrainerError(DATA_INVALID, message, f"spec.data.{other}")
    if len(of["train"]) < 2:
        raise TrainerError(DATA_INVALID, "identities to train on are fewer than 2", "spec.data.columns.label")
    for name in SPLITS[1:]:
        rows = Counter(splits[name].columns["label"])
        if len(rows) < 2 or max(rows.values()) < 2:
            message = (
                f"{name} has {len(rows)} identities in {len(splits[name])} images: no two images to tell apart or match"
            )
            raise TrainerError(DATA_INVALID, message, f"spec.data.split.{name}")
    read.counts |= {f"identities{name.capitalize()}": len(identities) for name, identities in of.items()}
    return read.made(_facts(read, of["train"]), {name: _table(rows, of[name]) for name, rows in splits.items()})


def _facts(read: SplitExamples, labels: list[str]) -> dict[str, Any]:
    """What all stores of labelled images tell."""
    return {"labels": labels, "fingerprint": fingerprint(read.splits, ("content", "label"))}


def _table(rows: Examples, labels: list[str]) -> pa.Table:
    number = {label: index for index, label in enumerate(labels)}
    return pa.table(
        {
            "id": pa.array(rows.ids, pa.int64()),
            "label": pa.array([number[label] for label in rows.columns["label"]], pa.int64()),
        }
    )


def decode(image: bytes | str, settings: ImageSettings) -> NDArray[np.uint8]:
    """An image as a model wants it: [height, width, channels].

    Args:
        image: its encoded bytes, or its file.
    """
    with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
        upright = ImageOps.exif_transpose(opened).convert("L" if settings.channels == 1 else "RGB")
    size, resampling = settings.size, _RESAMPLING[settings.interpolation]
    if settings.resize is None:
        scaled = upright.resize((size, size), resampling)
    else:
        shorter = min(upright.size)
        scaled = upright.resize([round(side * settings.resize / shorter) for side in upright.size], resampling)
        left, top = ((side - size) // 2 for side in scaled.size)
        scaled = scaled.crop((left, top, left + size, top + size))
    return np.asarray(scaled).reshape(size, size, settings.channels)


def _folder_table(folder: Path, image: str, label: str, field: str) -> pa.Table:
    """A row for each image of a folder of folders, one for each label: the files are the column `image`, the folders'
    names the column `label`."""
    files = image_files(folder)
    loose = [file for file in files if file.parent == folder]
    if loose:
        raise TrainerError(
            DATA_INVALID,
            f"{folder} has {len(loose)} images outside a folder of their label, the first is {loose[0].name}",
            f"{field}.uri",
        )
    if not files:
        raise TrainerError(DATA_INVALID, f"{folder} has no images ({', '.join(_ENDINGS)})", f"{field}.uri")
    paths = [file.relative_to(folder) for file in files]
    return pa.table(
        {
            image: [str(file) for file in files],
            label: [path.parts[0] for path in paths],
            "path": [str(path) for path in paths],
        }
    )


def _bytes_rows(data: DataSpec, rows: Rows) -> Rows:
    """The rows with the images' bytes: a column of bytes, or of structs with a field `bytes`."""
    name, field = data.column("image"), "spec.data.columns.image"
    values = encoded_column(rows, name, field)
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise TrainerError(DATA_INVALID, f"column {name!r} holds {values.type}, not encoded images", field)
    return rows.replacing(name, name, values)


def content_digest(image: bytes | str) -> str:
    """A short name for an image's encoded bytes, or for those of its file."""
    encoded = image if isinstance(image, bytes) else Path(image).read_bytes()
    return hashlib.sha256(encoded).hexdigest()[:16]


def write_all_pixels(folder: Path, read: SplitExamples, settings: ImageSettings) -> None:
    """Writes the pixels of each split into a file of its name, and leaves out the images that cannot be read.

    Raises:
        TrainerError: too many cannot, or OutputNotWritable.
    """
    for name in list(read.splits):
        file = folder / f"{name}.npy"
        bad = _write_pixels(file, read.splits[name], settings)
        kept = read.leave_out(name, bad)
        if bad:
            with writing(folder):
                _keep_pixels(file, kept)


def _keep_pixels(file: Path, kept: NDArray[np.int64]) -> None:
    """Writes some rows of a file of pixels anew, a few at a time."""
    pixels = np.load(file, mmap_mode="r")
    shorter = file.with_suffix(".shorter")
    written = np.lib.format.open_memmap(shorter, mode="w+", dtype=np.uint8, shape=(len(kept), *pixels.shape[1:]))
    for first in range(0, len(kept), _ROWS_AT_A_TIME):
        written[first : first + _ROWS_AT_A_TIME] = pixels[kept[first : first + _ROWS_AT_A_TIME]]
    written.flush()
    shorter.replace(file)


def _write_pixels(file: Path, rows: Examples, settings: ImageSettings) -> list[BadRow]:
    """Decodes the images of a split into a file, several at a time; memory for one image each is all it takes. Returns
    those that cannot be read."""
    shape = (len(rows), settings.size, settings.size, settings.channels)
    with writing(file.parent):
        pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        with file.open("r+b") as opened:
            # A mapped file that finds the disk full kills the process: the room is taken now.
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)

    def write(place: int) -> BadRow | None:
        image = rows.columns["image"][place]
        try:
            pixels[place] = decode(image, settings)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            what = image if isinstance(image, str) else "it"
            return BadRow(int(rows.ids[place]), f"{what} is no readable image: {error}", "spec.data", DATA_UNREADABLE)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bad = [each for each in pool.map(write, range(len(rows))) if each]
    pixels.flush()
    return bad
