"""Makes the example's recordings with espeak-ng: the same small vocabulary, read by many American voices to pretrain on
and by one Scottish voice, which the first model has never heard, to fine-tune on. Nothing is downloaded.

    python make_data.py data
"""

import csv
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("up", "down", "left", "right", "yes", "no", "stop", "go", "open", "close"),
)
AMERICANS = [f"en-us+{variant}" for variant in ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4")]
SCOT = "en-gb-scotland+f5"
COUNTS = {"americans": 800, "scot": 240, "scot-test": 200}
MODEL = {
    "model_type": "wav2vec2",
    "architectures": ["Wav2Vec2ForCTC"],
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "conv_dim": [32, 32, 64, 64, 64],
    "conv_kernel": [10, 8, 4, 4, 4],
    "conv_stride": [5, 4, 2, 2, 2],
    "num_feat_extract_layers": 5,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "hidden_dropout": 0.05,
    "attention_dropout": 0.05,
    "activation_dropout": 0.05,
    "feat_proj_dropout": 0.0,
    "final_dropout": 0.0,
}
"""A small wav2vec2: 50 frames for each second of 8,000 samples."""
EXTRACTOR = {"sampling_rate": 8000, "do_normalize": True, "return_attention_mask": True}


@dataclass(frozen=True)
class Recording:
    """What one file says, and how."""

    text: str
    voice: str
    speed: int
    pitch: int

    def write(self, file: Path) -> None:
        """Lets espeak-ng read it."""
        command = ["espeak-ng", "-v", self.voice, "-s", str(self.speed), "-p", str(self.pitch), "-w", str(file)]
        subprocess.run([*command, self.text], check=True)


def recordings(part: str, random: np.random.Generator) -> list[Recording]:
    """One to four words each, at different speeds and pitches."""
    voices = AMERICANS if part == "americans" else [SCOT]
    return [
        Recording(
            " ".join(random.choice(WORDS, random.integers(1, 5))),
            str(random.choice(voices)),
            int(random.integers(120, 220)),
            int(random.integers(20, 80)),
        )
        for _ in range(COUNTS[part])
    ]


def main() -> None:
    """Writes the folders below the one that the first argument names."""
    root = Path(sys.argv[1])
    random = np.random.default_rng(0)
    for part in COUNTS:
        folder = root / part
        folder.mkdir(parents=True, exist_ok=True)
        chosen = recordings(part, random)
        files = [folder / f"{number:04d}.wav" for number in range(len(chosen))]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Recording.write, chosen, files))
        with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(place.name, each.text) for place, each in zip(files, chosen, strict=True)]
            csv.writer(file).writerows([("file_name", "text"), *rows])
    model = root / "small-wav2vec2"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(MODEL, indent=2), encoding="utf-8")
    (model / "preprocessor_config.json").write_text(json.dumps(EXTRACTOR, indent=2), encoding="utf-8")
    print(f"{root}: {', '.join(f'{count} of {part}' for part, count in COUNTS.items())}")


if __name__ == "__main__":
    main()
