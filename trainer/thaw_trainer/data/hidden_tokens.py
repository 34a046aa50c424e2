"""Tokens of training rows that are hidden in an epoch: which depends on the seed, the epoch and the row alone, so that
it is the same whatever the batch, the worker and the restart."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hidden_tokens(
    tokens: NDArray[np.int64],
    ids: NDArray[np.int64],
    probability: float,
    seed: Sequence[int],
    hidden: int,
    special: Sequence[int],
) -> NDArray[np.int64]:
    """Rows with some tokens replaced.

    Args:
        tokens: [rows, width].
        ids: each row's number.
        probability: of each token.
        seed: of the job and the epoch.
        hidden: what stands in a hidden token's place.
        special: tokens that are never hidden, padding among them.
    """
    draws = np.stack([np.random.default_rng((*seed, int(row))).random(tokens.shape[1]) for row in ids])
    hides = (draws < probability) & ~np.isin(tokens, special)
    return np.where(hides, hidden, tokens)
