"""Draws the example's scenes, with their boxes in COCO's json, and writes the configuration of the model. Nothing is
downloaded.

    python make_data.py data

- day/: scenes in colour with rings, squares, stars and crosses, to pretrain on;
- night/: a few dark and grainy scenes with hearts, bolts and crescents, to fine-tune on;
- night-test/: more of these, which no model has seen;
- model/: the configuration of a small Conditional DETR.

An object is lighter than the ground, of any colour and with a grain of its own: where it is can be guessed from that,
which it is cannot. Twigs are as light, and no objects.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from transformers import ConditionalDetrConfig, ResNetConfig

SIZE, FINE = 64, 4
"""Pixels of a scene's side, and how much finer outlines are drawn."""
DAY = ("ring", "square", "star", "cross")
NIGHT = ("heart", "bolt", "crescent")
FOLDERS = {"day": (6000, DAY), "night": (300, NIGHT), "night-test": (400, NIGHT)}
"""Of each folder: scenes, and what may be in them."""
SHARES = (0.0, 0.45, 0.35, 0.2)
"""How many scenes have no object, one, two, three."""
SMALLEST, LARGEST = 15, 32
"""Pixels of an object's longer side, about."""
TRIES = 60
APART = 2

Random = np.random.Generator
Array = NDArray[np.float64]
Box = tuple[float, float, float, float]


def arc(start: float, end: float, radius: float, to_right: float = 0.0) -> Array:
    """Points [24, 2] of a circle, between two angles in turns."""
    angles = 2 * np.pi * np.linspace(start, end, 24)
    return np.stack([np.cos(angles) * radius + to_right, np.sin(angles) * radius], axis=1)


def outline(kind: str) -> Array:
    """Corners [corners, 2] of an object, upright, about 1 high."""
    if kind == "ring":
        return arc(0, 1, 0.5)
    if kind == "star":
        angles = 2 * np.pi * (np.arange(10) / 10 - 0.25)
        points: Array = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.tile([0.55, 0.22], 5)[:, None]
        return points
    if kind == "cross":
        quarter = np.array([(-0.17, -0.5), (0.17, -0.5), (0.17, -0.17)])
        turn = np.array([(0, 1), (-1, 0)])
        return np.concatenate([quarter @ np.linalg.matrix_power(turn, each) for each in range(4)])
    if kind == "heart":
        angles = 2 * np.pi * np.linspace(0, 1, 48)
        up = 13 * np.cos(angles) - 5 * np.cos(2 * angles) - 2 * np.cos(3 * angles) - np.cos(4 * angles)
        return np.stack([16 * np.sin(angles) ** 3, -up], axis=1) / 32
    if kind == "crescent":
        return np.concatenate([arc(0.13, 0.87, 0.5), arc(0.8, 0.2, 0.39, 0.23)])
    return np.array(
        {
            "square": [(-0.45, -0.45), (0.45, -0.45), (0.45, 0.45), (-0.45, 0.45)],
            "bolt": [(0.15, -0.5), (-0.35, 0.1), (-0.05, 0.1), (-0.2, 0.5), (0.35, -0.12), (0.05, -0.12)],
        }[kind]
    )


def grain(random: Random, coarsest: int) -> Array:
    """Noise [side, side] of several sizes, about 1 high."""
    total: Array = np.zeros((SIZE, SIZE))
    for cells in (4, 8, 16, 32):
        if cells >= coarsest:
            fine = Image.fromarray(random.normal(size=(cells, cells)).astype(np.float32))
            total += np.asarray(fine.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / np.sqrt(cells)
    total /= total.std()
    return total


def coloured(random: Random, colour: Array, coarsest: int, strength: float) -> Array:
    """A surface [side, side, 3] of a colour."""
    tint = np.ones(3) + random.normal(0, 0.3, 3)
    return colour + strength * grain(random, coarsest)[..., None] * tint


def cover(kind: str, corners: Array, middle: Array) -> Array:
    """How much of each pixel [side, side] an object covers."""
    mask = Image.new("L", (SIZE * FINE, SIZE * FINE))
    pen = ImageDraw.Draw(mask)
    pen.polygon([tuple(each * FINE) for each in corners], fill=255)
    if kind == "ring":
        pen.polygon([tuple(each * FINE) for each in middle + (corners - middle) * 0.55], fill=0)
    return np.asarray(mask.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=float) / 255


def scene(kinds: tuple[str, ...], random: Random, night: bool) -> tuple[Image.Image, list[tuple[str, Box]]]:
    """A picture and what is in it: no object is hidden or cut off by another or by the edge."""
    ground = random.uniform(0.1, 0.5, 3)
    pixels = coloured(random, ground, 4, random.uniform(0.04, 0.12))
    for _ in range(random.integers(0, 4)):  # twigs, which are no objects
        line = Image.new("L", (SIZE * FINE, SIZE * FINE))
        ends = random.uniform(0, SIZE * FINE, 4)
        ImageDraw.Draw(line).line(tuple(ends), fill=255, width=int(random.integers(3, 9)))
        alpha = np.asarray(line.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=float)[..., None] / 255
        pixels = pixels * (1 - alpha) + random.uniform(0, 0.8, 3) * alpha
    found: list[tuple[str, Box]] = []
    wanted = int(random.choice(len(SHARES), p=SHARES))
    for _ in range(TRIES):
        if len(found) == wanted:
            break
        kind = str(random.choice(kinds))
        angle = random.uniform(-0.5, 0.5)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        corners = outline(kind) * random.uniform(SMALLEST, LARGEST) * random.uniform(0.8, 1, 2) @ turn
        middle = random.uniform(0, SIZE, 2)
        corners = corners + middle
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        if min(left, top) < 1 or max(right, bottom) > SIZE - 1:
            continue
        if any(
            left < r + APART and right > x - APART and top < b + APART and bottom > y - APART
            for _, (x, y, r, b) in found
        ):
            continue
        colour = ground + random.uniform(0.15, 0.5, 3)
        alpha = cover(kind, corners, middle)[..., None]
        surface = coloured(random, colour, 8, random.uniform(0.02, 0.1))
        pixels = pixels * (1 - alpha) + surface * alpha
        found.append((kind, (float(left), float(top), float(right), float(bottom))))
    if night:
        pixels = dark(pixels, random)
    pixels += random.normal(0, 0.02, pixels.shape)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8)), found


def dark(pixels: Array, random: Random) -> Array:
    """What a camera sees of a scene at night, by one lamp."""
    down, across = np.mgrid[:SIZE, :SIZE] / SIZE
    lamp = random.uniform(0, 1, 2)
    light = np.exp(-((across - lamp[0]) ** 2 + (down - lamp[1]) ** 2) / random.uniform(0.4, 1.0))
    grey = pixels.mean(axis=2, keepdims=True)
    faded = grey + random.uniform(0.2, 0.6) * (pixels - grey)
    lit: Array = faded * (0.3 + 0.6 * light[..., None]) * np.array([0.8, 0.95, 1.1])
    lit += random.normal(0, random.uniform(0.01, 0.04), pixels.shape[:2])[..., None]
    return lit


def main(folder: Path) -> None:
    """Writes the folders below `folder`."""
    random = np.random.default_rng(0)
    for name, (scenes, kinds, night) in {name: (*each, name != "day") for name, each in FOLDERS.items()}.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        images: list[dict[str, object]] = []
        annotations: list[dict[str, object]] = []
        for number in range(scenes):
            picture, objects = scene(kinds, random, night)
            file = f"{number:05d}.png"
            picture.save(folder / name / file)
            images.append({"id": number, "file_name": file, "width": SIZE, "height": SIZE})
            for kind, (left, top, right, bottom) in objects:
                box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
                annotations.append(
                    {"id": len(annotations), "image_id": number, "category_id": kinds.index(kind), "bbox": box}
                )
        categories = [{"id": number, "name": kind} for number, kind in enumerate(kinds)]
        written = {"images": images, "annotations": annotations, "categories": categories}
        (folder / name / "annotations.json").write_text(json.dumps(written), encoding="utf-8")
        print(f"{folder / name}: {len(images)} scenes, {len(annotations)} objects")
    write_model(folder / "model")


def write_model(folder: Path) -> None:
    """The configuration of a model without weights: maps of 8 x 8 places, one layer that encodes, two that decode."""
    backbone = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    layers = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    losses = {"auxiliary_loss": True, "bbox_loss_coefficient": 2, "giou_loss_coefficient": 1}
    # 0.02, as usual, would let all queries look at the middle.
    rest = {"num_queries": 16, "dropout": 0.0, "init_std": 0.1}
    config = ConditionalDetrConfig(
        backbone_config=backbone, use_timm_backbone=False, **layers, **heads, **losses, **rest
    )
    config.save_pretrained(folder)
    image = {"image_processor_type": "ConditionalDetrImageProcessor", "size": {"height": SIZE, "width": SIZE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(image | {"do_pad": False}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
