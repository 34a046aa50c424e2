"""Images of a store as batches, augmented when they are trained on."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from thaw_api.job import FineTuneJobSpec
from thaw_api.steps import IMAGE_FEATURES, read_steps
from thaw_trainer.data.augmentation import Augmentation
from thaw_trainer.data.batches import BatchPlan
from thaw_trainer.data.examples import source_paths
from thaw_trainer.data.images import source_digest
from thaw_trainer.data.store import Made, PreparedStore, digest, file_digest, open_or_write
from thaw_trainer.models import pretrained
from thaw_trainer.models.image_files import ImageSettings, image_settings, library_of, model_folder
from thaw_trainer.tasks.protocol import JobFiles, Share
from thaw_trainer.tasks.row_task import RowTask

_LAYOUT = 1
"""Version of what is written; part of the store's key."""


@dataclass(frozen=True)
class ImageBatch:
    """`pixels`: bytes [rows, channels, height, width]; `label`, `id` and `weight` (1 counts, 0 fills up) [rows]."""

    split: str
    plan: BatchPlan
    pixels: torch.Tensor
    label: NDArray[np.int64]
    id: NDArray[np.int64]
    weight: NDArray[np.float32]


class Pixels(Protocol):
    """What a batch of images has, whatever is said of them: see ImageBatch."""

    @property
    def pixels(self) -> torch.Tensor:
        """Bytes [rows, channels, height, width]."""

    @property
    def id(self) -> NDArray[np.int64]:
        """Number of each row in its source."""


PixelsT = TypeVar("PixelsT", bound=Pixels)


class PixelTask(RowTask[PixelsT]):
    """A trial's view of rows of images, whatever is said of them."""

    def __init__(self, spec: FineTuneJobSpec, folder: Path) -> None:
        super().__init__(spec, folder)
        self.labels: list[str] = self.store.facts["labels"]
        self.settings = ImageSettings.read(self.store.facts["image"])
        self.augmentation = Augmentation(spec.data.augment, self.settings.size) if spec.data.augment else None

    @abstractmethod
    def ids(self, split: str) -> NDArray[np.int64]:
        """Number of each row of a split in its source."""

    @abstractmethod
    def augmented(self, batch: PixelsT, augmentation: Augmentation, seed: Sequence[int]) -> PixelsT:
        """A batch as it is trained on in an epoch, of which `seed` tells."""

    def row_source(self) -> "PixelTask[PixelsT] | None":
        """See Task: augmented rows are new ones in each epoch."""
        return None if self.augmentation else self

    def lengths(self, split: str) -> NDArray[np.int32]:
        """See RowTask: one for each row, since all images have one size."""
        return np.ones(len(self.ids(split)), dtype=np.int32)

    def batches(self, split: str, epoch: int, share: Share) -> Iterator[PixelsT]:
        """See Task."""
        batches, augmentation = super().batches(split, epoch, share), self.augmentation
        if split != "train" or augmentation is None:
            return batches
        return (self.augmented(batch, augmentation, (self.spec.training.seed, epoch)) for batch in batches)

    def pixels(self, batch: PixelsT, device: torch.device) -> torch.Tensor:
        """The batch as a model reads it: bytes go to the device, and are normalized there."""
        mean, std = (
            torch.tensor(each, device=device).view(1, -1, 1, 1) for each in (self.settings.mean, self.settings.std)
        )
        pixels = (batch.pixels.to(device).float() / 255 - mean) / std
        return pixels.to(getattr(torch, self.spec.model.dtype))


class ImageRows:
    """The rows of one split, mapped from the store."""

    def __init__(self, store: PreparedStore, split: str) -> None:
        self.split = split
        table = store.table(split)
        self.label = table["label"].to_numpy()
        self.id = table["id"].to_numpy()
        self.pixels = np.load(store.folder / f"{split}.npy", mmap_mode="r")

    def collate(self, plan: BatchPlan) -> ImageBatch:
        """The batch that a plan describes."""
        weight = (np.arange(len(plan.rows)) < plan.filled).astype(np.float32)
        pixels = pixels_of(self.pixels, plan)
        return ImageBatch(self.split, plan, pixels, self.label[plan.rows], self.id[plan.rows], weight)


class ImageTask(PixelTask[ImageBatch]):
    """A trial's view of rows of labelled images."""

    @cached_property
    def rows(self) -> dict[str, ImageRows]:
        """The splits' rows."""
        return {split: ImageRows(self.store, split) for split in ("train", "validation", "test")}

    def ids(self, split: str) -> NDArray[np.int64]:
        """See PixelTask."""
        ids: NDArray[np.int64] = self.rows[split].id
        return ids

    def collate(self, split: str, plan: BatchPlan) -> ImageBatch:
        """See RowSource."""
        return self.rows[split].collate(plan)

    def augmented(self, batch: ImageBatch, augmentation: Augmentation, seed: Sequence[int]) -> ImageBatch:
        """See PixelTask."""
        return replace(batch, pixels=augmentation(batch.pixels, batch.id, seed))


def pixels_of(mapped: NDArray[np.uint8], plan: BatchPlan) -> torch.Tensor:
    """A batch's bytes [rows, channels, height, width] of a split's [rows, height, width, channels]."""
    return torch.from_numpy(mapped[plan.rows]).permute(0, 3, 1, 2).contiguous()


def prepare_images(
    spec: FineTuneJobSpec,
    files: JobFiles,
    make: Callable[[Path, dict[str, Path], ImageSettings], Made],
    settings_of: Callable[[Path], ImageSettings] = image_settings,
    digest_of: Callable[[Path, str], str] = lambda path, field: source_digest(path),
) -> Path:
    """The store of a spec's images, made if it is not there yet.

    Args:
        make: given the store's folder, the sources and how the model wants its images; returns facts and tables.
        settings_of: how the model of a folder wants its images.
        digest_of: a short name for all bytes of a source, given also the path of its field.
    """
    source = model_folder(spec.model, files.roots, files.stores / "models")
    sizes = [step.size for _, step in read_steps(spec.data.features, IMAGE_FEATURES)]
    settings = settings_of(source).at_size(sizes[-1] if sizes else None)
    paths = source_paths(spec.data, files.roots)
    key = digest(
        _LAYOUT,
        spec.task,
        spec.data.model_copy(update={"augment": None}).manifest(),
        asdict(settings),
        {name: digest_of(path, f"spec.data.{name}") for name, path in paths.items()},
        {path.name: file_digest(path) for path in pretrained.model_files(source)},
    )
    store = open_or_write(files.stores, key, lambda folder: make(folder, paths, settings), files.kept)
    for name, fact in (("image", asdict(settings)), ("library", library_of(source)), ("modelFolder", str(source))):
        store = store.with_fact(name, fact)
    return store.folder
