"""The store of rows of tokens that lie in one file, or in one saved dataset, for each source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from thaw_api.job import FineTuneJobSpec
from thaw_trainer.data.examples import source_paths
from thaw_trainer.data.saved_dataset import is_saved_dataset
from thaw_trainer.data.store import Made, digest, file_digest, open_or_write, source_digest
from thaw_trainer.errors import DATA_INVALID, TrainerError
from thaw_trainer.models import pretrained
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.uris import resolve_model

_LAYOUT = 1
"""Version of what is written; part of the store's key."""


def prepare_tokens(
    spec: FineTuneJobSpec,
    files: JobFiles,
    load_tokenizer: Callable[[Path], Any],
    empty_model: Callable[[Path], nn.Module],
    make: Callable[[dict[str, Path], Any, int], Made],
) -> Path:
    """The store of a spec's rows, made if it is not there yet.

    Args:
        load_tokenizer, empty_model: of the model in a folder.
        make: given the sources, the tokenizer and the tokens that a row may have; returns facts and tables.
    """
    folder = resolve_model(spec.model.uri, pretrained.URI_FIELD, files.roots)
    paths = source_paths(spec.data, files.roots)
    for name, path in paths.items():
        if not path.is_file() and not is_saved_dataset(path):
            message = f"{path} is a folder; rows are in one file, or in what save_to_disk of datasets wrote"
            raise TrainerError(DATA_INVALID, message, f"spec.data.{name}.uri")
    key = digest(
        _LAYOUT,
        spec.task,
        spec.data.manifest(),
        {name: source_digest(path) for name, path in paths.items()},
        {path.name: file_digest(path) for path in pretrained.model_files(folder)},
    )

    def made(_: Path) -> Made:
        tokenizer = load_tokenizer(folder)
        positions = pretrained.longest_input(empty_model(folder))
        limits = (spec.data.batching.max_length, tokenizer.model_max_length, positions)
        return make(paths, tokenizer, min(int(limit) for limit in limits if limit))

    return open_or_write(files.stores, key, made, files.kept).with_fact("modelFolder", str(folder)).folder
