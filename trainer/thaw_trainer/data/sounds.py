"""Sounds of folders and tables, decoded and brought to a model's rate once.

Samples are kept as 16-bit numbers, one ragged column; their lengths for batches are tenths of a second.
"""

import hashlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from thaw_api.data import DataSource, DataSpec
from thaw_trainer.data.batches import fit_widths
from thaw_trainer.data.examples import Columns, Reader, SplitExamples
from thaw_trainer.data.rows import BadRow, Rows, encoded_column, open_table
from thaw_trainer.data.store import digest, file_digest
from thaw_trainer.data.tables import read_table
from thaw_trainer.errors import DATA_INVALID, DATA_UNREADABLE, TrainerError

_ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au")
_METADATA = ("metadata.csv", "metadata.jsonl")
"""Tables of an audiofolder, as datasets names them; their column `file_name` is relative to the folder."""
_ROWS_OF_A_CLASS = 16
UNITS_PER_SECOND = 10
"""Length classes are in tenths of a second."""


def source_digest(data: DataSpec, source: DataSource, path: Path, field: str, folder_role: str | None) -> str:
    """A short name for all bytes of a source: its table, and every sound that it names.

    Args:
        folder_role: see `_rows`.
    """
    audio = _rows(data, source, path, field, folder_role).table[data.column("audio")].drop_null()
    named = [] if pa.types.is_binary(audio.type) or pa.types.is_large_binary(audio.type) else audio.to_pylist()
    table = path if path.is_file() else _metadata(path)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = list(pool.map(_digest_if_there, [*([table] if table else []), *map(Path, named)]))
    except OSError as error:
        raise TrainerError(DATA_UNREADABLE, f"{error.filename} cannot be read: {error}", f"{field}.uri") from error
    return digest([str(Path(name).relative_to(path if path.is_dir() else path.parent)) for name in named], digests)


def _digest_if_there(file: Path) -> str:
    return file_digest(file) if file.exists() else ""


def sound_files(folder: Path) -> list[Path]:
    """The sounds below a folder, in order of their paths; what is hidden is left out."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _ENDINGS and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def reader(role: str, from_folders: bool) -> Reader:
    """Reads examples of columns `audio` (encoded bytes, or the file), `role`, and `content`, a digest of the bytes.

    Args:
        role: what is said of a sound: `text` or `label`.
        from_folders: whether an audiofolder without a table has the role in the names of its folders.
    """

    def open_source(data: DataSpec, source: DataSource, path: Path, field: str) -> Rows:
        return _rows(data, source, path, field, role if from_folders else None)

    def parse(data: DataSpec, rows: Rows) -> Columns:
        where = f"spec.data.columns.{role}"
        told = rows.texts(data.column(role), where)
        if role == "text":
            told = [" ".join(text.split()) for text in told]
            for place, text in enumerate(told):
                if not text:
                    rows.mark(place, "its text is empty", where)
        audio = rows.each(data.column("audio"), "spec.data.columns.audio", _present)
        return {"audio": audio, role: told, "content": ["" if each is None else _content(each) for each in audio]}

    return Reader(
        open_source,
        parse,
        identity="content",
        roles=("audio", role),
        texts=("text",) * (role == "text"),
        of_files=True,
    )


def decoded(read: SplitExamples, split: str, rate: int) -> list[NDArray[np.int16]]:
    """The samples of each example of a split at a rate in Hz, channels averaged; what cannot be heard leaves the split.

    Raises:
        TrainerError: too many cannot.
    """
    rows = read.splits[split]
    bad: list[BadRow] = []

    def decode(place: int) -> NDArray[np.int16]:
        audio = rows.columns["audio"][place]
        what, row = audio if isinstance(audio, str) else "it", int(rows.ids[place])
        try:
            samples = read_samples(audio, rate)
        except (OSError, ValueError, RuntimeError) as error:
            bad.append(BadRow(row, f"{what} is no readable sound: {error}", "spec.data", DATA_UNREADABLE))
            return np.empty(0, np.int16)
        if not len(samples):
            bad.append(BadRow(row, f"{what} has no samples", "spec.data"))
        return samples

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        samples = list(pool.map(decode, range(len(rows))))
    return [samples[place] for place in read.leave_out(split, bad)]


def read_samples(audio: bytes | str, rate: int) -> NDArray[np.int16]:
    """The samples of a sound at a rate in Hz.

    Args:
        audio: its encoded bytes, or its file.
    """
    import soundfile
    import soxr

    samples, own_rate = soundfile.read(io.BytesIO(audio) if isinstance(audio, bytes) else audio, dtype="float32")
    mono = samples.mean(axis=1) if samples.ndim == 2 else samples
    at_rate = mono if own_rate == rate else soxr.resample(mono, own_rate, rate)
    return np.asarray(np.clip(np.round(at_rate * 32768.0), -32768, 32767), dtype=np.int16)


def units(samples: NDArray[np.int64], rate: int) -> NDArray[np.int32]:
    """Lengths in tenths of a second, rounded up."""
    return np.asarray(-(-samples * UNITS_PER_SECOND // rate), dtype=np.int32)


def fit_classes(lengths: dict[str, NDArray[np.int32]]) -> list[int]:
    """Length classes for the splits' lengths in units."""
    longest = int(max(each.max() for each in lengths.values()))
    return fit_widths(lengths["train"], longest, _ROWS_OF_A_CLASS)


def _rows(data: DataSpec, source: DataSource, path: Path, field: str, folder_role: str | None) -> Rows:
    """Rows whose column of the role `audio` holds bytes or absolute paths.

    Args:
        folder_role: the role that the names of folders have in an audiofolder without a table; None: it needs one.
    """
    if path.is_dir():
        metadata = _metadata(path)
        if metadata is None:
            return Rows(_folder_table(data, path, field, folder_role))
        rows = Rows(read_table(metadata, None, field))
        names = rows.texts("file_name", f"{field}.uri")
        return rows.replacing("file_name", data.column("audio"), _inside(path, names, f"{field}.uri"))
    if source.format == "audiofolder":
        raise TrainerError(DATA_INVALID, f"{path} is a file; an audiofolder is a folder", f"{field}.uri")
    rows = open_table(data, source, path, field)
    name, where = data.column("audio"), "spec.data.columns.audio"
    values: Any = encoded_column(rows, name, where)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _inside(path.parent, values.to_pylist(), where)
    elif not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        raise TrainerError(
            DATA_INVALID, f"column {name!r} holds {values.type}, neither paths nor encoded sounds", where
        )
    return rows.replacing(name, name, values)


def _inside(folder: Path, names: Sequence[str | None], field: str) -> pa.Array:
    """The files of a folder that a table names; a name that leads out of it is refused."""
    for name in names:
        if name and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise TrainerError(
                DATA_INVALID, f"{name!r} leads out of {folder}: a table names what lies beside it", field
            )
    return pa.array([str(folder / name) if name else None for name in names], pa.string())


def _folder_table(data: DataSpec, folder: Path, field: str, role: str | None) -> pa.Table:
    files = sound_files(folder)
    if role is None:
        raise TrainerError(
            DATA_INVALID, f"{folder} has no {' or '.join(_METADATA)} with what is said in its sounds", f"{field}.uri"
        )
    loose = [file for file in files if file.parent == folder]
    if loose or not files:
        message = f"{len(loose)} sounds outside a folder of their label" if loose else "no sounds"
        raise TrainerError(DATA_INVALID, f"{folder} has {message}", f"{field}.uri")
    return pa.table(
        {
            data.column("audio"): [str(file) for file in files],
            data.column(role): [file.relative_to(folder).parts[0] for file in files],
        }
    )


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in _METADATA if (folder / name).is_file()), None)


def _present(audio: bytes | str) -> bytes | str:
    if isinstance(audio, str) and not Path(audio).is_file():
        raise ValueError(f"{audio} is no file")
    return audio


def _content(audio: bytes | str) -> str:
    try:
        encoded = audio if isinstance(audio, bytes) else Path(audio).read_bytes()
    except OSError as error:
        raise TrainerError(DATA_UNREADABLE, f"{audio!r} is no readable sound: {error}", "spec.data") from error
    return hashlib.sha256(encoded).hexdigest()[:16]
