"""Makes the example's pictures. To pretrain on: letters of three alphabets in matplotlib's fonts, at the size of the
digits. To fine-tune on: a few of scikit-learn's handwritten digits (8 x 8 pixels); the rest is to test on. Nothing is
downloaded.

    python make_data.py data
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits

PER_DIGIT = 20
"""Pictures of each digit to fine-tune on and to choose by."""
SIZE, FINE = 8, 64
"""Pixels of a picture's side, and of the drawing that it is scaled down from."""
LETTERS = [
    *("ABCDEFGHIJKLMNPQRSTUVWXYZabdefghijkmnpqrtuvy"),
    *("ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψω"),
    *("БГДЖИЛУФЦЧШЩЪЫЬЭЮЯбвджзийлцчшъыьэюя"),
]


def letters() -> Iterator[tuple[str, str, Image.Image]]:
    """Letter, font and picture: white on black, in every font that has the letter."""
    fonts = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("[DS]*.ttf"))
    for file in fonts:
        font = ImageFont.truetype(file, 52)
        missing = font.getmask("\uffff").getbbox()
        for letter in LETTERS:
            if font.getmask(letter).getbbox() in (None, missing):
                continue
            drawing = Image.new("L", (FINE, FINE))
            ImageDraw.Draw(drawing).text((FINE / 2, FINE / 2), letter, font=font, fill=255, anchor="mm")
            yield letter, file.stem, drawing.resize((SIZE, SIZE), Image.Resampling.BOX)


def main() -> None:
    """Writes the folders below the one that the first argument names."""
    root = Path(sys.argv[1])
    counts: Counter[str] = Counter()
    for letter, font, picture in letters():
        counts["letters"] += 1
        file = root / "letters" / f"u{ord(letter):04x}" / f"{font}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    images, digits = load_digits(return_X_y=True)
    seen: Counter[int] = Counter()
    for index in np.random.default_rng(0).permutation(len(images)):  # they are in the order of who wrote them
        digit = int(digits[index])
        seen[digit] += 1
        part = "digits" if seen[digit] <= PER_DIGIT else "test"
        counts[part] += 1
        file = root / part / str(digit) / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(images[index].reshape(SIZE, SIZE) / 16 * 255, dtype=np.uint8)).save(file)
    print(f"{root}: {', '.join(f'{count} {part}' for part, count in counts.items())}")


if __name__ == "__main__":
    main()
