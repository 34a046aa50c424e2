"""Texts to tokens, some at a time: what a tokenizer knows of each text is many times its tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_AT_A_TIME = 1000


def tokenized(tokenizer: Any, texts: Sequence[Sequence[str]], limit: int) -> tuple[pa.Array, pa.Array]:
    """The tokens of each row, and which text of the row each is of: lists of int32, the second ones empty where the
    tokenizer does not tell or calls all of them the first.

    Args:
        texts: a row's one or two texts. What is too long is cut, of a pair the longer text first.
    """
    tokens, segments = [], []
    for first in range(0, len(texts), _AT_A_TIME):
        columns = [list(each) for each in zip(*texts[first : first + _AT_A_TIME], strict=True)]
        encoded = tokenizer(*columns, truncation=True, max_length=limit, return_attention_mask=False)
        tokens.append(_lists(encoded["input_ids"]))
        segments.append(_lists(encoded.get("token_type_ids") or [[] for _ in columns[0]]))
    if not any(np.any(each.values) for each in segments):
        segments = [_lists([[]] * len(texts))]  # what a model takes for granted
    return pa.concat_arrays(tokens), pa.concat_arrays(segments)


def _lists(rows: Sequence[Sequence[int]]) -> pa.ListArray:
    return pa.array(rows, pa.list_(pa.int32()))
