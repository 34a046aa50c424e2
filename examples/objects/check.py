"""Measures the example's models without thaw: transformers finds the objects of the test scenes with each, torchmetrics
computes average precision, and that must be what result.json says. Beside it, what is found without training.

    python check.py out out-scratch

- bright parts: what is lighter than its surroundings, as connected components, with the label of the training part
  whose outline is most alike;
- not fine-tuned: the pretrained model, which has other labels: only its boxes count.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torchmetrics.detection import MeanAveragePrecision
from transformers import AutoImageProcessor, AutoModelForObjectDetection
from transformers.utils import logging as transformers_logging

HERE = Path(__file__).resolve().parent
SAME = 1e-4
SMOOTH, WIDE, SMALLEST, SIDE = 1.0, 12.0, 40, 12
"""Of bright parts: pixels that grain and ground are smoothed over, least area, and side of an outline's picture."""

Found = dict[str, torch.Tensor]


@dataclass
class Scenes:
    """Pictures, and what is in each: `boxes` [objects, 4] in pixels and `labels` [objects]."""

    pictures: list[Image.Image]
    objects: list[Found]
    names: list[str]


def scenes(folder: Path) -> Scenes:
    """A folder of the example's data."""
    written = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    pictures, objects = [], []
    for image in written["images"]:
        mine = [each for each in written["annotations"] if each["image_id"] == image["id"]]
        boxes = torch.tensor([each["bbox"] for each in mine], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        objects.append({"boxes": boxes, "labels": torch.tensor([each["category_id"] for each in mine]).long()})
        pictures.append(Image.open(folder / image["file_name"]).convert("RGB"))
    return Scenes(pictures, objects, [each["name"] for each in written["categories"]])


def by_model(folder: Path, of: Scenes) -> list[Found]:
    """What a model finds, by transformers alone; labels that the scenes do not have are -1."""
    model = AutoModelForObjectDetection.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    number = {place: of.names.index(name) if name in of.names else -1 for place, name in model.config.id2label.items()}
    found = []
    for picture in of.pictures:
        with torch.inference_mode():
            outputs = model(pixel_values=processor(picture, return_tensors="pt")["pixel_values"])
        sides = [(picture.height, picture.width)]
        (each,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sides)
        each["labels"] = torch.tensor([number[int(label)] for label in each["labels"]])
        found.append(each)
    return found


def parts(picture: Image.Image) -> list[tuple[list[float], np.ndarray, float]]:
    """Box, outline [side * side] and contrast of what is lighter than its surroundings."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    lifted = ndimage.gaussian_filter(grey, SMOOTH) - ndimage.gaussian_filter(grey, WIDE)
    marked, _ = ndimage.label(lifted > lifted.std())
    told = []
    for number, place in enumerate(ndimage.find_objects(marked), start=1):
        mask = marked[place] == number
        if mask.sum() < SMALLEST:
            continue
        down, across = place
        outline = Image.fromarray(mask.astype(np.uint8) * 255).resize((SIDE, SIDE), Image.Resampling.BOX)
        box = [float(each) for each in (across.start, down.start, across.stop, down.stop)]
        told.append((box, np.asarray(outline, dtype=float).ravel() / 255, float(lifted[place][mask].mean())))
    return told


def overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    both = max(wide, 0.0) * max(high, 0.0)
    return both / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both)


def by_parts(train: Scenes, of: Scenes) -> list[Found]:
    """What bright parts there are, labelled by those of the training scenes that are around an object."""
    known, labels = [], []
    for picture, objects in zip(train.pictures, train.objects, strict=True):
        for box, outline, _ in parts(picture):
            for other, label in zip(objects["boxes"].tolist(), objects["labels"].tolist(), strict=True):
                if overlap(box, other) > 0.5:
                    known.append(outline)
                    labels.append(label)
    found = []
    for picture in of.pictures:
        mine = parts(picture)
        nearest = [int(np.abs(np.stack(known) - outline).sum(axis=1).argmin()) for _, outline, _ in mine]
        found.append(
            {
                "boxes": torch.tensor([box for box, _, _ in mine], dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor([labels[each] for each in nearest]).long(),
                "scores": torch.tensor([contrast for _, _, contrast in mine], dtype=torch.float32),
            }
        )
    return found


def precision(found: list[Found], objects: list[Found]) -> dict[str, float]:
    """COCO's average precision, the mean over overlaps and at 0.5."""
    metric = MeanAveragePrecision()
    metric.update(found, objects)
    told = metric.compute()
    return {"map": float(told["map"]), "map50": float(told["map_50"])}


def unlabelled(found: list[Found]) -> list[Found]:
    """The same, as if there were one label."""
    return [each | {"labels": torch.zeros_like(each["labels"])} for each in found]


def main(outs: list[Path]) -> int:
    """Prints the metrics; the exit status is 1 if those of a model are not what result.json says."""
    transformers_logging.disable_progress_bar()
    test = scenes(HERE / "data" / "night-test")
    print(f"{len(test.pictures)} scenes, {sum(len(each['labels']) for each in test.objects)} objects")
    print("                     map     map50   map of the boxes, whatever their labels")

    def line(name: str, found: list[Found], verdict: str = "") -> dict[str, float]:
        mine = precision(found, test.objects)
        boxes = precision(unlabelled(found), unlabelled(test.objects))["map"]
        print(f"{name:<16} {mine['map']:8.4f} {mine['map50']:8.4f} {boxes:8.4f}  {verdict}".rstrip())
        return mine

    line("bright parts", by_parts(scenes(HERE / "data" / "night"), test))
    if (HERE / "out-day" / "model").is_dir():
        line("not fine-tuned", by_model(HERE / "out-day" / "model", test))
    wrong = 0
    for out in outs:
        found = by_model(out / "model", test)
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
        mine = precision(found, test.objects)
        same = all(abs(value - reported[name]) < SAME for name, value in mine.items())
        line(out.name, found, "as in result.json" if same else f"but result.json says {reported}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
