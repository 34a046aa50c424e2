"""MinHash over many texts at once (Broder 1997), in bands for locality-sensitive hashing (Leskovec, Rajaraman and
Ullman, Mining of Massive Datasets, 3.4).

Libraries hash one text at a time in Python; docs/decisions/0021-minhash.md has what that costs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
"""Characters in a row that make one element of a text's set."""
_HASHES = 64
_RECALL = 0.99
"""Chance that two texts of just the similarity asked for share a band, at least."""
_AT_A_TIME = 1 << 18
"""Characters that are hashed in one go: what that takes stays in the processor's cache."""
_SEED = 20


def bands_for(similarity: float) -> tuple[int, int]:
    """How many bands of how many hashes each: the widest that find texts of this similarity."""
    for width in range(_HASHES, 1, -1):
        bands = _HASHES // width
        if 1 - (1 - similarity**width) ** bands >= _RECALL:
            return bands, width
    return _HASHES, 1


def shingles(text: str) -> set[str]:
    """The set that a text is compared by; a text shorter than a shingle is its own only one."""
    return {text[place : place + SHINGLE] for place in range(max(1, len(text) - SHINGLE + 1))}


def band_keys(texts: Sequence[str], bands: int, width: int) -> NDArray[np.uint64]:
    """A number for each band of each text [bands, texts]: texts that share one are candidates."""
    random = np.random.default_rng(_SEED)
    multiply, add = random.integers(1, 2**64, size=(2, bands, width), dtype=np.uint64)
    multiply |= np.uint64(1)
    keys = np.zeros((bands, len(texts)), dtype=np.uint64)
    begin = 0
    while begin < len(texts):
        end, characters = begin, 0
        while end < len(texts) and (end == begin or characters + len(texts[end]) <= _AT_A_TIME):
            characters += len(texts[end]) + SHINGLE
            end += 1
        hashes, starts = _shingle_hashes(texts[begin:end])
        for band in range(bands):
            for one, other in zip(multiply[band], add[band], strict=True):
                # Multiply-shift: the upper half of the product is the hash (Dietzfelbinger et al. 1997).
                least = np.minimum.reduceat((hashes * one + other) >> np.uint64(32), starts)
                keys[band, begin:end] = _mixed(keys[band, begin:end] ^ least)
        begin = end
    return keys


def _shingle_hashes(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A hash of every shingle of some texts, and where each text's begin. Every text ends with filling, so that one
    shorter than a shingle has one too, and none reaches into the next."""
    lengths = np.asarray([len(text) for text in texts], dtype=np.int64)
    padded = "".join(text.ljust(SHINGLE, "\0") for text in texts)
    characters = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    whole = np.maximum(lengths, SHINGLE)
    hashes = np.zeros(max(0, len(characters) - SHINGLE + 1), dtype=np.uint64)
    for place in range(SHINGLE):
        hashes = _mixed(hashes ^ characters[place : place + len(hashes)])
    ends = np.cumsum(whole)
    of = np.arange(len(hashes))
    text_of = np.searchsorted(ends, of, side="right")
    inside = of + SHINGLE <= ends[text_of]
    counts = whole - SHINGLE + 1
    return hashes[inside], np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose every bit depends on all (the finalizer of splitmix64, Steele et al. 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
