"""Draws the example's faces. A person is some thirty numbers (how far apart the eyes are, how broad the jaw), drawn at
random; a picture of the person is another pose, expression and light. Nothing is downloaded, and nobody is shown.

    python make_data.py data

- portraits/: 240 people in daylight, to pretrain on;
- night/: 60 other people as a bad infrared camera has them at night, to fine-tune on;
- night-test/: 60 people more at night, whom no model has seen.

Pictures are grey: the colour of a skin or a shirt would give a person away.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE, FINE = 48, 192
"""Pixels of a picture's side, and of the drawing that it is scaled down from."""
FOLDERS = {"portraits": (240, 8, False), "night": (60, 8, True), "night-test": (60, 8, True)}
"""Of each folder: people, pictures of each, whether it is night."""

Random = np.random.Generator
Point = tuple[float, float]


@dataclass(frozen=True)
class Person:
    """What stays the same from picture to picture; lengths are shares of the face's height."""

    skin: float
    hair: float
    fringe: float
    sides: float
    width: float
    jaw: float
    ears: float
    eye_gap: float
    eye_height: float
    eye_width: float
    eye_shape: float
    iris: float
    brow_height: float
    brow_width: float
    brow_slant: float
    brow_weight: float
    nose_length: float
    nose_width: float
    mouth_height: float
    mouth_width: float
    lip: float
    beard: float
    mole_x: float
    mole_y: float


def person(random: Random) -> Person:
    """Somebody new."""

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    return Person(
        skin=between(0.5, 0.85),
        hair=between(0.05, 0.45),
        fringe=between(0.02, 0.2),
        sides=between(0.0, 0.5),
        width=between(0.62, 0.86),
        jaw=between(1.7, 3.2),
        ears=between(0.04, 0.12),
        eye_gap=between(0.13, 0.21),
        eye_height=between(-0.1, 0.0),
        eye_width=between(0.06, 0.1),
        eye_shape=between(0.35, 0.75),
        iris=between(0.05, 0.4),
        brow_height=between(0.07, 0.13),
        brow_width=between(0.07, 0.12),
        brow_slant=between(-0.03, 0.04),
        brow_weight=between(0.01, 0.035),
        nose_length=between(0.12, 0.22),
        nose_width=between(0.04, 0.1),
        mouth_height=between(0.23, 0.32),
        mouth_width=between(0.1, 0.18),
        lip=between(0.015, 0.04),
        beard=between(-0.3, 0.35),
        mole_x=between(-0.25, 0.25),
        mole_y=between(-0.2, 0.3),
    )


def grey(value: float) -> int:
    """A share of white as a pixel."""
    return int(np.clip(value, 0, 1) * 255)


def drawing(one: Person, random: Random) -> Image.Image:
    """A person from the front or nearly so, with some expression, in even light."""
    yaw, pitch = random.uniform(-0.07, 0.07), random.uniform(-0.03, 0.03)
    smile, opened = random.uniform(-0.02, 0.04), max(0.0, random.uniform(-0.03, 0.04))
    lids, raised = random.uniform(0.55, 1.1), random.uniform(-0.01, 0.025)
    image = Image.new("L", (FINE, FINE), grey(random.uniform(0.1, 0.95)))
    pen = ImageDraw.Draw(image)
    height = 0.72 * FINE

    def at(x: float, y: float, depth: float = 1.0) -> Point:
        """Where a point of the face is; what stands out moves more as the head turns."""
        return FINE / 2 + (x + yaw * depth) * height, FINE / 2 + (y + pitch * depth) * height

    def ellipse(x: float, y: float, wide: float, high: float, shade: float, depth: float = 1.0) -> None:
        (left, top), (right, bottom) = at(x - wide, y - high, depth), at(x + wide, y + high, depth)
        pen.ellipse((left, top, right, bottom), fill=grey(shade))

    def outline(wide: float, high: float, power: float, depth: float) -> list[Point]:
        """A head: an ellipse above, squarer below the larger `power` is."""
        points = []
        for angle in np.linspace(0, 2 * np.pi, 72, endpoint=False):
            sine, cosine = np.sin(angle), np.cos(angle)
            bent = 2 / (power if sine > 0 else 2)
            points.append(
                at(wide * np.sign(cosine) * abs(cosine) ** bent, high * np.sign(sine) * abs(sine) ** bent, depth)
            )
        return points

    half = one.width / 2
    shirt = random.uniform(0.1, 0.9)
    pen.rectangle((FINE * 0.2, FINE * 0.88, FINE * 0.8, FINE), fill=grey(shirt))
    pen.rectangle((FINE * 0.38, FINE * 0.7, FINE * 0.62, FINE * 0.93), fill=grey(one.skin * 0.85))
    if one.sides > 0.1:
        pen.polygon(outline(half + 0.06, 0.3 + one.sides * 0.3, 2, -0.3), fill=grey(one.hair))
    pen.polygon(outline(half + 0.03, 0.54, 2, -0.2)[36:], fill=grey(one.hair))
    for side in (-1, 1):
        ellipse(side * half, 0.0, 0.05, one.ears, one.skin * 0.9, -0.5)
    pen.polygon(outline(half, 0.5, one.jaw, 0.0), fill=grey(one.skin))
    if one.beard > 0:
        below = [point for point in outline(half, 0.5, one.jaw, 0.0) if point[1] > at(0, 0.16, 0)[1]]
        pen.polygon(below, fill=grey(one.skin * (1 - one.beard)))
    hairline = -0.5 + one.fringe
    above = [point for point in outline(half, 0.5, one.jaw, 0.0) if point[1] < at(0, hairline, 0)[1]]
    if len(above) > 2:
        pen.polygon(above, fill=grey(one.hair))
    for side in (-1, 1):
        x = side * one.eye_gap
        open_to = one.eye_width * one.eye_shape * lids
        ellipse(x, one.eye_height, one.eye_width, open_to, 0.95)
        ellipse(x + yaw * 0.2, one.eye_height, min(open_to, 0.04), min(open_to, 0.04), one.iris)
        y = one.eye_height - one.brow_height - raised
        ends = at(x - side * one.brow_width, y + one.brow_slant), at(x + side * one.brow_width, y - one.brow_slant)
        pen.line(ends, fill=grey(one.hair * 0.8), width=max(1, int(one.brow_weight * height)))
    tip = one.eye_height + one.nose_length
    bridge, left, right = at(0, one.eye_height + 0.02), at(-one.nose_width, tip, 1.6), at(one.nose_width, tip, 1.6)
    pen.polygon([bridge, left, right], fill=grey(one.skin * 0.86))
    corners = [at(-one.mouth_width, one.mouth_height - smile), at(one.mouth_width, one.mouth_height - smile)]
    middle = at(0, one.mouth_height + smile * 0.5 + opened + one.lip), at(0, one.mouth_height + smile * 0.3 - one.lip)
    pen.polygon([corners[0], middle[0], corners[1], middle[1]], fill=grey(one.skin * 0.5))
    ellipse(one.mole_x, one.mole_y, 0.014, 0.014, one.skin * 0.4)
    if random.random() < 0.2:
        for side in (-1, 1):
            glass = [at(side * one.eye_gap + way, one.eye_height + 0.8 * way) for way in (-0.1, 0.1)]
            pen.ellipse(glass, outline=grey(0.1), width=3)
    return image


def picture(one: Person, random: Random, night: bool) -> Image.Image:
    """A photograph: tilted, moved and lit, at night by a grainy sensor, as a negative."""
    image = drawing(one, random)
    moved = tuple(int(way) for way in random.uniform(-0.05, 0.05, 2) * FINE)
    image = image.rotate(random.uniform(-10, 10), Image.Resampling.BILINEAR, translate=moved, fillcolor=128)
    edge = int(random.uniform(0, 0.07) * FINE)
    image = image.crop((edge, edge, FINE - edge, FINE - edge)).resize((SIZE, SIZE), Image.Resampling.BOX)
    across, down = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    towards = random.uniform(0, 2 * np.pi)
    gradient = np.cos(towards) * across + np.sin(towards) * down
    if not night:
        pixels = np.asarray(image, dtype=float) / 255
        pixels = pixels * (1 + random.uniform(0, 0.35) * gradient) * random.uniform(0.75, 1.1)
        pixels += random.normal(0, 0.02, pixels.shape)
    else:
        pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.9))), dtype=float) / 255
        pixels = 1 - 0.8 * pixels  # a camera that sees warmth shows a bright face dark
        pixels = pixels * (1 + random.uniform(0.1, 0.4) * gradient) * random.uniform(0.4, 0.9)
        pixels += random.normal(0, random.uniform(0.02, 0.06), pixels.shape)
    return Image.fromarray(np.asarray(np.clip(pixels, 0, 1) * 255, dtype=np.uint8))


def main(folder: Path) -> None:
    """Writes the folders below `folder`."""
    random = np.random.default_rng(0)
    for name, (people, pictures, night) in FOLDERS.items():
        for number in range(people):
            one = person(random)
            place = folder / name / f"{name}-{number:03d}"
            place.mkdir(parents=True, exist_ok=True)
            for shot in range(pictures):
                picture(one, random, night).save(place / f"{shot}.png")
        print(f"{folder / name}: {people} people, {pictures} pictures of each")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
