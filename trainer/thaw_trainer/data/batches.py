"""Length classes and the batches of an epoch.

A row's padded length is a function of the row alone, a batch holds rows of one length class and always has as many
rows as every other of its class (short ones are filled up with rows of weight zero). So a row's result depends neither
on its neighbours nor on how many workers share the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """One batch: `rows` [batch size] into the split, of which the first `filled` count, padded to `width` tokens."""

    rows: Rows
    filled: int
    width: int

    def part(self, index: int, parts: int) -> "BatchPlan":
        """The rows of part `index` of `parts` equal parts."""
        size = len(self.rows) // parts
        start = index * size
        return BatchPlan(self.rows[start : start + size], int(np.clip(self.filled - start, 0, size)), self.width)


def length_classes(longest: int) -> NDArray[np.int64]:
    """Ascending padded lengths: steps of 8 up to 32, then four steps to each doubling, the last one `longest`."""
    widths: list[int] = []
    width = 0
    while width < longest:
        width += max(8, 2 ** int(np.log2(max(width, 1))) // 4)
        widths.append(min(width, longest))
    return np.asarray(widths, dtype=np.int64)


def merge_rare_classes(
    widths: NDArray[np.int64], lengths: Sequence[int] | NDArray[np.int32], fewest: int
) -> NDArray[np.int64]:
    """The classes of which each has `fewest` of the rows or more; a rarer one is joined to the next longer.

    A batch has a fixed number of rows, so a class of three rows costs as much as a full batch of its width. The
    longest class stays whatever it has.
    """
    counts = np.bincount(np.searchsorted(widths, lengths), minlength=len(widths))
    kept, waiting = [], 0
    for width, count in zip(widths[:-1], counts[:-1], strict=True):
        waiting += int(count)
        if waiting >= fewest:
            kept.append(int(width))
            waiting = 0
    return np.asarray([*kept, int(widths[-1])], dtype=np.int64)


def fit_widths(training: NDArray[np.int32], longest: int, fewest: int) -> list[int]:
    """Length classes of training rows, and one more where held-out rows are longer: these decide nothing about how
    training rows are padded.

    Args:
        training: lengths of the training rows.
        longest: of all rows.
        fewest: training rows of a class; see `merge_rare_classes`.
    """
    most = int(training.max())
    widths: list[int] = merge_rare_classes(length_classes(most), training, fewest).tolist()
    return [*widths, longest] if longest > most else widths


def rows_by_class(widths: NDArray[np.int64], most: int, parts: int = 1, tokens: int | None = None) -> Rows:
    """Rows of a batch of each class: as many as fit into a number of tokens, padding included.

    Args:
        most: rows of any batch at most, a multiple of `parts`.
        parts: equal parts that a batch is dealt out in: workers times accumulated parts. Each has a row at least, also
            where that is more tokens.
        tokens: of a whole batch; None: every class has `most` rows.
    """
    if tokens is None:
        return np.full(len(widths), most, dtype=np.int64)
    rows: Rows = np.clip(tokens // widths // parts * parts, parts, most)
    return rows


def plan_batches(
    lengths: Sequence[int] | NDArray[np.int32], widths: NDArray[np.int64], batch_size: int | Rows
) -> list[BatchPlan]:
    """Batches in order of length: each row once, as evaluation reads them.

    Args:
        batch_size: rows of a batch, or of each class's batches.
    """
    return _cut(np.arange(len(lengths)), np.asarray(lengths), widths, batch_size)


def plan_epoch(
    lengths: Sequence[int] | NDArray[np.int32], widths: NDArray[np.int64], batch_size: int | Rows, seed: Sequence[int]
) -> list[BatchPlan]:
    """Batches of one training epoch: each row once, rows and batches in an order that `seed` determines."""
    random = np.random.default_rng(seed)
    batches = _cut(random.permutation(len(lengths)), np.asarray(lengths), widths, batch_size)
    return [batches[i] for i in random.permutation(len(batches))]


def scattered(plans: Sequence[BatchPlan], first: int = 0) -> BatchPlan:
    """A batch of one class whose rows come from as many of its batches as possible, in another order; `first` makes it
    another batch, if the class has the rows."""
    rows = np.concatenate([plan.rows[: plan.filled] for plan in plans])
    size = len(plans[0].rows)
    stride = max(1, len(rows) // size)
    chosen = rows[first % stride :: stride][:size][::-1]
    padded = np.concatenate([chosen, np.full(size - len(chosen), chosen[0], dtype=np.int64)])
    return BatchPlan(padded, len(chosen), plans[0].width)


def _cut(order: Rows, lengths: NDArray[np.int32], widths: NDArray[np.int64], batch_size: int | Rows) -> list[BatchPlan]:
    class_of_row = np.searchsorted(widths, lengths[order])
    batches = []
    for index, (width, size) in enumerate(zip(widths, np.broadcast_to(batch_size, widths.shape), strict=True)):
        rows = order[class_of_row == index]
        for start in range(0, len(rows), size):
            chunk = rows[start : start + size]
            padded = np.concatenate([chunk, np.full(size - len(chunk), chunk[0], dtype=np.int64)])
            batches.append(BatchPlan(padded, len(chunk), int(width)))
    return batches
