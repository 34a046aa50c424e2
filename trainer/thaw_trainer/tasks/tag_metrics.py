"""Metrics of tagged words: of whole entities, by seqeval, where the tags are those of a chunking scheme."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw_trainer.data.tagged_words import OUTSIDE


def tag_metrics(
    tags: NDArray[Any], predicted: NDArray[Any], losses: NDArray[np.float32], read: NDArray[np.int64], labels: list[str]
) -> dict[str, float]:
    """f1, precision and recall of entities (an entity counts when its type and both of its ends are right, as CoNLL's
    own script has it), accuracy of words, and loss (mean cross-entropy of words).

    Where tags mark no chunks (parts of speech), each word is its own entity: f1 is then that of all words.

    Args:
        tags, predicted: [rows] of arrays of tag numbers, one for each word; CUT_OFF for one that was not read.
        losses: [rows], summed over the words of each row that were read.
        read: [rows], how many those are.
    """
    words = sum(len(row) for row in tags)
    hits = sum(int((true == guess).sum()) for true, guess in zip(tags, predicted, strict=True))
    found = {"accuracy": hits / words, "loss": float(losses.sum(dtype=np.float64)) / max(1, int(read.sum()))}
    if not marks_chunks(labels):
        return {"f1": hits / words, "precision": hits / words, "recall": hits / words} | found
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    named = [[[labels[tag] if tag >= 0 else OUTSIDE for tag in row] for row in side] for side in (tags, predicted)]
    precision, recall, f1, _ = precision_recall_fscore_support(*named, average="micro", zero_division=0)
    return {"f1": float(f1), "precision": float(precision), "recall": float(recall)} | found


def marks_chunks(labels: list[str]) -> bool:
    """Whether tags are O and letters before a type: B-PER, I-PER."""
    return all(label == OUTSIDE or label[1:2] == "-" for label in labels)
