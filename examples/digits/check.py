"""What the transfer was worth: test accuracy of the fine-tuned network, of the same network trained from random weights
on the same rows with the same search, of logistic regression on the pixels, and of always saying the same digit.

    python check.py
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).resolve().parent


def rows_of(out: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels [rows, values] on a scale of 0 to 1 and labels, by split, of the store that a run used."""
    fingerprint = json.loads((out / "result.json").read_text(encoding="utf-8"))["data"]["fingerprint"]
    stores = [PreparedStore(facts.parent) for facts in sorted(out.glob("prepared/*/facts.json"))]
    store = next(store for store in stores if store.facts["fingerprint"] == fingerprint)
    splits = ("train", "test")
    pixels = {split: np.load(store.folder / f"{split}.npy") for split in splits}
    return {
        split: (pixels[split].reshape(len(pixels[split]), -1) / 255, store.table(split)["label"].to_numpy())
        for split in splits
    }


def tested(out: Path) -> float:
    """The test accuracy of a run."""
    return float(json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]["accuracy"])


def main() -> int:
    """Prints the accuracies; the exit status is 1 unless the transfer was worth something."""
    rows = rows_of(HERE / "out")
    pixels, labels = rows["train"]
    test_pixels, test_labels = rows["test"]
    linear = LogisticRegression(max_iter=1000).fit(pixels, labels).score(test_pixels, test_labels)
    common = Counter(labels.tolist()).most_common(1)[0][0]
    fine_tuned, scratch = tested(HERE / "out"), tested(HERE / "out-scratch")
    lines = [
        ("fine-tuned", fine_tuned, f"{len(labels)} pictures trained on, {len(test_labels)} tested"),
        ("from scratch", scratch, "the same network and search, random weights, nothing frozen"),
        ("pixels", linear, f"logistic regression on the same {len(labels)} pictures"),
        ("guess", float((test_labels == common).mean()), "the same digit for all"),
    ]
    for name, value, explanation in lines:
        print(f"{name:<13} {value:.4f}  {explanation}")
    return int(fine_tuned <= scratch)


if __name__ == "__main__":
    sys.exit(main())
