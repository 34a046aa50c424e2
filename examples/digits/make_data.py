"""Makes the example's pictures from scikit-learn's digits (8 x 8 pixels, 1,797 of them): 0 to 4 to pretrain on, and of
5 to 9 a few to fine-tune on and the rest to test on. Nothing is downloaded.

    python make_data.py data
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

PER_DIGIT = 16
"""Pictures of each digit to fine-tune on."""


def main() -> None:
    """Writes the folders below the one that the first argument names."""
    root = Path(sys.argv[1])
    images, digits = load_digits(return_X_y=True)
    seen: dict[int, int] = {}
    for index, (image, digit) in enumerate(zip(images, digits.tolist(), strict=True)):
        seen[digit] = seen.get(digit, 0) + 1
        part = "pretrain" if digit < 5 else "train" if seen[digit] <= PER_DIGIT else "test"
        file = root / part / str(digit) / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(image.reshape(8, 8) / 16 * 255, dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    print(f"{root}: {sum(seen.values())} pictures, {PER_DIGIT} of each of 5 to 9 to fine-tune on")


if __name__ == "__main__":
    main()
