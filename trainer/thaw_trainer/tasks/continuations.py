"""How a model goes on after the beginnings of a few texts: what a person looks at first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SAMPLES, NEW_TOKENS, LONGEST_PROMPT = 3, 24, 32

Text = tuple[NDArray[np.int32], NDArray[np.uint8]]
"""A row's tokens, and which of them count."""


def continuations(model: Any, tokenizer: Any, texts: Sequence[Text], device: torch.device) -> list[dict[str, str]]:
    """`prompt`, `model` (greedy) and `text` (what follows indeed) of the first texts that are long enough.

    A text goes on from its middle, a chat or completion from where the first token counts.
    """
    samples: list[dict[str, str]] = []
    for tokens, counted in texts:
        first = int(counted.argmax())
        cut = min(len(tokens) // 2, LONGEST_PROMPT) if first == 1 else first
        if cut < 2 or len(tokens) - cut < 2:
            continue
        ids = torch.from_numpy(tokens[:cut].astype(np.int64))[None].to(device)
        with torch.inference_mode():
            found = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(NEW_TOKENS, _room(model, cut)),
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )[0]
        parts = {"prompt": tokens[:cut], "model": found[cut:].cpu().numpy(), "text": tokens[cut : cut + NEW_TOKENS]}
        samples.append({name: tokenizer.decode(part, skip_special_tokens=True) for name, part in parts.items()})
        if len(samples) == SAMPLES:
            break
    return samples


def _room(model: Any, used: int) -> int:
    """Tokens that the model has positions for behind those that it has read."""
    positions = getattr(model.config, "max_position_embeddings", None) or used + NEW_TOKENS
    return max(1, int(positions) - used)
