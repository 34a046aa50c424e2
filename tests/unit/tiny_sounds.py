"""Tiny speech jobs: tones that spell words, and a tiny wav2vec2."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

RATE = 4000
"""Samples per second: four tones fit below half of it."""
TONES = {"a": 400.0, "b": 700.0, "c": 1100.0, "d": 1600.0}
_SECONDS = 0.1


def spoken(text: str, random: np.random.Generator) -> NDArray[np.float32]:
    """A tone of 0.1 s for each letter, half of one of silence behind it, one for a space, and noise."""
    parts = []
    for letter in text:
        times = np.arange(int(_SECONDS * RATE)) / RATE
        parts.append(np.sin(2 * np.pi * TONES[letter] * times) if letter in TONES else np.zeros(len(times)))
        parts.append(np.zeros(int(_SECONDS * RATE) // 2))
    wave = np.concatenate(parts)
    return (0.5 * wave + 0.02 * random.normal(size=len(wave))).astype(np.float32)


def texts(count: int, seed: int = 0) -> list[str]:
    """Different texts of one or two words of letters."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        words = ["".join(random.choice(list(TONES), random.integers(1, 5))) for _ in range(random.integers(1, 3))]
        found[" ".join(words)] = None
    return list(found)


def write_sounds(folder: Path, count: int = 48, seed: int = 0) -> Path:
    """An audiofolder with metadata.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = []
    for number, text in enumerate(texts(count, seed)):
        soundfile.write(folder / f"{number:03d}.wav", spoken(text, random), RATE)
        rows.append((f"{number:03d}.wav", text))
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "text"), *rows])
    return folder


def save_wav2vec2(folder: Path, **changes: Any) -> Path:
    """A tiny wav2vec2 without a head: a frame for each 1/40 s."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    settings: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": [16, 16, 16],
        "conv_kernel": [10, 5, 4],
        "conv_stride": [5, 5, 4],
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "mask_time_prob": 0.0,
        "layerdrop": 0.0,
        "vocab_size": 8,
    }
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**(settings | changes))).save_pretrained(folder)
    extractor = {"sampling_rate": RATE, "do_normalize": True, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor), encoding="utf-8")
    return folder
