"""Which tokens a language model's head computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class CountedOnly:
    """Gives a model's head the positions that count, and no others: their logits would be computed, held and thrown
    away, and with a large vocabulary they are most of what a step holds."""

    def __init__(self) -> None:
        self._places: tuple[torch.Tensor, torch.Tensor] | None = None

    def attach(self, model: Any) -> None:
        """To a model; without effect outside `logits`."""
        head = model.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(self._pick)

    def logits(self, run: Callable[[], Any], rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Logits [n, vocabulary].

        Args:
            run: runs the model on a batch [rows, width].
            rows: [n] of the batch, and
            places: [n] in them.
        """
        with self._picking(rows, places):
            logits: torch.Tensor = run().logits
        return logits[rows, places] if logits.ndim == 3 else logits

    @contextmanager
    def _picking(self, rows: torch.Tensor, places: torch.Tensor) -> Iterator[None]:
        self._places = (rows, places)
        try:
            yield
        finally:
            self._places = None

    def _pick(self, head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._places is None or inputs[0].ndim != 3:  # a head of another kind computes everything
            return None
        return (inputs[0][self._places], *inputs[1:])
