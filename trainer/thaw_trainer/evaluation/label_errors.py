"""Training rows whose label is likely wrong: confident learning (Northcutt et al., arXiv 1911.00068).

Each row's classes come from a linear model that has not seen the row: cross-validated over the numbers that the head
reads of it. What is listed is to be looked at by a person; nothing is changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

FOLDS = 5
_STEPS = 60
_DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths of the linear model's weight decay that are tried."""


@dataclass(frozen=True)
class LabelErrors:
    """Rows by how likely their label is wrong."""

    order: NDArray[np.int64]
    """Places of all rows, the likeliest error first."""
    count: int
    """How many of them confident learning takes for errors."""


def find_label_errors(shares: NDArray[np.float64], labels: NDArray[np.int64]) -> LabelErrors:
    """Ranks rows and counts the errors among them.

    A row is an error when another class reaches its own threshold in it, the mean share that rows labelled so have of
    it, and is likelier than the given one. Rows are ranked by the share of the label that they have.

    Args:
        shares: [rows, classes], each row's from a model that has not seen it.
        labels: [rows].
    """
    rows = np.arange(len(labels))
    classes = shares.shape[1]
    given = shares[rows, labels]
    thresholds = np.array([given[labels == each].mean() if (labels == each).any() else 1.0 for each in range(classes)])
    others = shares.copy()
    others[rows, labels] = -np.inf
    reached = np.where(others >= thresholds, others, -np.inf).max(axis=1)
    return LabelErrors(np.argsort(given, kind="stable"), int((reached > given).sum()))


def listed_errors(
    features: NDArray[np.float32], labels: NDArray[np.int64], ids: NDArray[np.int64], names: Sequence[str], most: int
) -> dict[str, Any]:
    """`count` of the training rows that are taken for errors, and the `listed` ones, the likeliest first: each with its
    `row` in the source, its `label`, what is `said` instead and the `share` of either.

    Args:
        features: what the head reads of each row [rows, numbers].
        ids: numbers of the rows in their source.
        names: of the classes.
    """
    shares = cross_validated_shares(features, labels, len(names))
    found = find_label_errors(shares, labels)
    listed = []
    for place in found.order[:most].tolist():
        said = int(shares[place].argmax())
        each = {"row": int(ids[place]), "label": names[labels[place]], "said": names[said]}
        listed.append(each | {"share": float(shares[place, labels[place]]), "saidShare": float(shares[place, said])})
    return {"count": found.count, "rows": len(labels), "listed": listed}


def cross_validated_shares(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, seed: int = 0
) -> NDArray[np.float64]:
    """Shares [rows, classes] of a logistic regression over features [rows, numbers], each row's from folds that it is
    not in. The strength of its decay is the one by which rows that were not seen are told best.
    """
    fold = _folds(labels, seed)
    found = [_shares(features, labels, classes, fold, decay) for decay in _DECAYS]
    rows = np.arange(len(labels))
    losses = [-np.log(np.maximum(shares[rows, labels], 1e-12)).mean() for shares in found]
    return found[int(np.argmin(losses))]


def _folds(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each row's fold; every class is spread over all of them as evenly as it can be."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def _shares(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    fold: NDArray[np.int64],
    decay: float,
) -> NDArray[np.float64]:
    shares = np.empty((len(labels), classes))
    for each in range(FOLDS):
        inside, outside = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        if len(inside) and len(outside):
            shares[outside] = _fitted(features[inside], labels[inside], features[outside], classes, decay)
    return shares


def _fitted(
    known: NDArray[np.float32],
    labels: NDArray[np.int64],
    asked: NDArray[np.float32],
    classes: int,
    decay: float,
) -> NDArray[np.float64]:
    """A logistic regression on standardized features, fitted by L-BFGS."""
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    x, y = torch.from_numpy((known - mean) / deviation), torch.from_numpy(labels)
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), y) + decay * weight.square().sum() / 2
        torch.autograd.backward(value)
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        logits = F.linear(torch.from_numpy((asked - mean) / deviation), weight, bias)
        return logits.double().softmax(-1).numpy()
