"""Metrics of embeddings whose identities were never trained on: all pairs, and each image against a gallery."""

import numpy as np
from numpy.typing import NDArray

MOST_IMAGES = 4000
FALSE_ACCEPTS = 0.01
"""The share of pairs of two identities that may be taken for one."""


def verification_metrics(embeddings: NDArray[np.float32], identity: NDArray[np.int64]) -> dict[str, float]:
    """auc: share of (same, different) couples of pairs of which the same one is more alike (ROC AUC); tar: share of
    pairs of one identity that are accepted where at most 1 in 100 pairs of two is (TAR at FAR 0.01); rank1: share of
    images whose most alike image of the gallery, the first of each identity, is of their own.

    Of more than MOST_IMAGES images some identities are measured, always the same ones: pairs grow with the square.

    Args:
        embeddings: [rows, size], of length 1.
        identity: [rows].
    """
    if len(identity) > MOST_IMAGES:
        kept = _some_identities(identity)
        embeddings, identity = embeddings[kept], identity[kept]
    alike = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T
    left, right = np.triu_indices(len(identity), k=1)
    is_same = identity[left] == identity[right]
    same, different = np.sort(alike[left, right][is_same]), np.sort(alike[left, right][~is_same])
    gallery = np.unique(identity, return_index=True)[1]
    probes = np.setdiff1d(np.arange(len(identity)), gallery)
    best = gallery[alike[np.ix_(probes, gallery)].argmax(axis=1)] if len(probes) else probes
    return {
        "auc": _area(same, different),
        "tar": _true_accepts(same, different),
        "rank1": float((identity[best] == identity[probes]).mean()) if len(probes) else 0.0,
    }


def _some_identities(identity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of whole identities, as many as MOST_IMAGES allows, two at least."""
    names, counts = np.unique(identity, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    taken = max(2, int(np.searchsorted(np.cumsum(counts[order]), MOST_IMAGES, side="right")))
    return np.flatnonzero(np.isin(identity, names[order[:taken]]))


def _area(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Mann and Whitney's statistic: ties count half."""
    if not len(same) or not len(different):
        return 0.5
    below = np.searchsorted(different, same, side="left")
    through = np.searchsorted(different, same, side="right")
    return float(((below + through) / 2).sum() / (len(same) * len(different)))


def _true_accepts(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    if not len(same):
        return 0.0
    allowed = int(FALSE_ACCEPTS * len(different))
    # Accepted is what is more alike than this pair of two identities.
    threshold = different[len(different) - 1 - allowed] if len(different) > allowed else -np.inf
    return float((same > threshold).mean())
