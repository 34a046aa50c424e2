"""Measures the example's models without thaw: torchvision embeds the pictures of the test's people, and what comes of
it must be what result.json says. Beside it, the pixels themselves as an embedding.

    python check.py out out-scratch
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torchvision.models import get_model

BILINEAR = Image.Resampling.BILINEAR
HERE = Path(__file__).resolve().parent
FALSE_ACCEPTS = 0.01
SAME = 1e-4


def pictures(folder: Path, image: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [rows, 3, height, width] on a scale of 0 to 1, scaled and cut as the model's config.json says, and the
    number of each one's person."""
    files = sorted(folder.glob("*/*.png"))
    edge = (image["resize"] - image["size"]) // 2
    part = (edge, edge, edge + image["size"], edge + image["size"])
    scaled = [Image.open(file).convert("RGB").resize((image["resize"],) * 2, BILINEAR).crop(part) for file in files]
    pixels = np.stack([np.asarray(each, dtype=np.float32).transpose(2, 0, 1) / 255 for each in scaled])
    _, person = np.unique([file.parent.name for file in files], return_inverse=True)
    return pixels, person


def embedded(folder: Path, pixels: np.ndarray) -> np.ndarray:
    """A model's embeddings, by torchvision alone."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "model.safetensors")
    model = get_model(config["architecture"], num_classes=len(tensors["fc.weight"])).eval()
    model.load_state_dict(tensors)
    mean, std = (torch.tensor(config["image"][name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        return np.concatenate([model((part - mean) / std).numpy() for part in torch.from_numpy(pixels).split(64)])


def measured(vectors: np.ndarray, person: np.ndarray) -> dict[str, float]:
    """How well cosines tell people apart: AUC, true accepts at 1% false ones, and the nearest of a gallery of one
    picture of each."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    left, right = np.triu_indices(len(person), k=1)
    same, cosines = person[left] == person[right], alike[left, right]
    other = np.sort(cosines[~same])
    threshold = other[len(other) - 1 - int(FALSE_ACCEPTS * len(other))]
    _, gallery = np.unique(person, return_index=True)
    probes = np.setdiff1d(np.arange(len(person)), gallery)
    nearest = person[gallery[alike[np.ix_(probes, gallery)].argmax(axis=1)]]
    return {
        "auc": float(roc_auc_score(same, cosines)),
        "tar": float((cosines[same] > threshold).mean()),
        "rank1": float((nearest == person[probes]).mean()),
    }


def main(outs: list[Path]) -> int:
    """Prints the metrics; the exit status is 1 if those of a model are not what result.json says."""
    config = json.loads((outs[0] / "model" / "config.json").read_text(encoding="utf-8"))
    pixels, person = pictures(HERE / "data" / "night-test", config["image"])
    print(f"{person.max() + 1} people, {len(person)} pictures   AUC    TAR at FAR 0.01   rank 1")
    grey = pixels[:, 0].reshape(len(pixels), -1)
    rows = [("pixels", grey - grey.mean(axis=1, keepdims=True))]
    if (HERE / "out-portraits" / "model").is_dir():
        rows.append(("not fine-tuned", embedded(HERE / "out-portraits" / "model", pixels)))
    for name, vectors in rows:
        print("{:<22} {auc:9.4f} {tar:12.4f} {rank1:14.4f}".format(name, **measured(vectors, person)))
    wrong = 0
    for out in outs:
        mine = measured(embedded(out / "model", pixels), person)
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
        same = all(abs(value - reported[name]) < SAME for name, value in mine.items())
        verdict = "as in result.json" if same else f"but result.json says {reported}"
        print("{:<22} {auc:9.4f} {tar:12.4f} {rank1:14.4f}  {verdict}".format(out.name, **mine, verdict=verdict))
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
