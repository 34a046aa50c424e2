"""Labelled images to a prepared store: read, split, labels fitted on train, duplicates of train taken out of what is
held out, each image decoded and scaled once.

The pixels of a split are one .npy file of bytes [rows, height, width, channels] beside its table, mapped and not read.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, ImageOps

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.examples import SPLITS, Examples, Read, class_counts, fit_labels, read_splits
from thaw_trainer.data.store import Made, digest, file_digest
from thaw_trainer.data.tables import column, read_table, text_column
from thaw_trainer.disk import writing
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError
from thaw_trainer.models.image_files import ImageSettings

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
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


def read_images(data: DataSpec, source: DataSource, path: Path, field: str) -> Read:
    """Examples of columns `image` (encoded bytes, or the file), `label` and `content`, a digest of the bytes.

    Raises:
        TrainerError: DataUnreadable, DataInvalid or ColumnNotFound.
    """
    if path.is_dir():
        table = _folder_table(path, field)
    elif source.format == "imagefolder":
        raise TrainerError(DATA_INVALID, f"{path} is a file; an imagefolder is a folder", f"{field}.uri")
    else:
        table = _bytes_table(data, read_table(path, "parquet", field))
    label = text_column(
        table, "label" if path.is_dir() else data.columns.get("label", "label"), "spec.data.columns.label"
    )
    images = table["image"].to_pylist()
    columns: dict[str, Sequence[Any]] = {
        "image": images,
        "label": label,
        "content": [content_digest(each) for each in images],
    }
    return Examples(columns, np.arange(len(label))), table


def make_store(folder: Path, data: DataSpec, paths: dict[str, Path], settings: ImageSettings) -> Made:
    """Facts and tables of a store of labelled images, whose pixels are written into `folder`."""
    splits, counts = read_splits(data, paths, read_images, identity="content")
    labels = fit_labels(splits)
    return _written(folder, splits, counts, labels, settings) | {"classes": class_counts(splits, labels)}, {
        name: _table(rows, labels) for name, rows in splits.items()
    }


def make_identities(folder: Path, data: DataSpec, paths: dict[str, Path], settings: ImageSettings) -> Made:
    """The same for images of identities, each of which is in one split only; `labels` are those of train.

    Raises:
        TrainerError: DataInvalid: sources that are given share an identity, or train has fewer than two.
    """
    column = "label" if paths["train"].is_dir() else data.columns.get("label", "label")
    apart = data.model_copy(update={"split": data.split.model_copy(update={"group_by": column})})
    splits, counts = read_splits(apart if data.split.group_by is None else data, paths, read_images, identity="content")
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
    counts |= {f"identities{name.capitalize()}": len(identities) for name, identities in of.items()}
    tables = {name: _table(rows, of[name]) for name, rows in splits.items()}
    return _written(folder, splits, counts, of["train"], settings), tables


def _written(
    folder: Path, splits: dict[str, Examples], counts: dict[str, int], labels: list[str], settings: ImageSettings
) -> dict[str, Any]:
    """Writes the pixels of each split; the facts that all stores of images have."""
    for name, rows in splits.items():
        write_pixels(folder / f"{name}.npy", rows, settings)
    content = {
        name: (rows.columns["content"], rows.columns["label"], rows.ids.tolist()) for name, rows in splits.items()
    }
    return {"labels": labels, "counts": counts, "fingerprint": digest(content)}


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


def _folder_table(folder: Path, field: str) -> pa.Table:
    """A row for each image of a folder of folders, one for each label."""
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
            "image": [str(file) for file in files],
            "label": [path.parts[0] for path in paths],
            "path": [str(path) for path in paths],
        }
    )


def _bytes_table(data: DataSpec, table: pa.Table) -> pa.Table:
    """The table with the images' bytes in a column `image`: a column of bytes, or of structs with a field `bytes`."""
    name, field = data.columns.get("image", "image"), "spec.data.columns.image"
    values = column(table, name, field)
    if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
        values = pc.struct_field(values, "bytes")
        if values.null_count:
            raise TrainerError(DATA_INVALID, f"column {name!r} lacks bytes in {values.null_count} rows", field)
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise TrainerError(DATA_INVALID, f"column {name!r} holds {values.type}, not encoded images", field)
    kept = table.drop_columns([name])
    return (kept.drop_columns(["image"]) if "image" in kept.column_names else kept).append_column("image", values)


def content_digest(image: bytes | str) -> str:
    """A short name for an image's encoded bytes, or for those of its file."""
    encoded = image if isinstance(image, bytes) else Path(image).read_bytes()
    return hashlib.sha256(encoded).hexdigest()[:16]


def write_pixels(file: Path, rows: Examples, settings: ImageSettings) -> None:
    """Decodes the images of a split into a file, several at a time; memory for one image each is all it takes."""
    shape = (len(rows), settings.size, settings.size, settings.channels)
    with writing(file.parent):
        pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
        with file.open("r+b") as opened:
            # A mapped file that finds the disk full kills the process: the room is taken now.
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)

    def write(place: int) -> None:
        image = rows.columns["image"][place]
        try:
            pixels[place] = decode(image, settings)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            what = image if isinstance(image, str) else f"row {rows.ids[place]}"
            raise TrainerError(DATA_UNREADABLE, f"{what} is no readable image: {error}", "spec.data") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(len(rows))))
    pixels.flush()
