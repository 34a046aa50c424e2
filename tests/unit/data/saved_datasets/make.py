"""Makes the folders beside this file with Hugging Face datasets, which is no dependency of the tests: what they read is
what its `save_to_disk` wrote.

    pip install datasets && python make.py

texts/: a DatasetDict of three splits, their labels a ClassLabel, one of them unknown; tagged/: one split in two files,
its tags a list of ClassLabel.
"""

import shutil
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

HERE = Path(__file__).parent
MOODS = ["glad", "sad"]
TAGS = ["O", "B-PER", "I-PER"]


def texts(rows: list[tuple[str, int]]) -> Dataset:
    """Texts and numbers of their moods."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=MOODS)})
    return Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]}, features)


def main() -> None:
    """Writes both folders anew."""
    for name in ("texts", "tagged"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    splits = {
        "train": texts([("what a day", 0), ("oh no", 1), ("so it goes", 1)]).select([2, 0, 1]),
        "validation": texts([("hooray", 0), ("alas", 1)]),
        "unlabelled": texts([("well", -1)]),
    }
    DatasetDict(splits).save_to_disk(HERE / "texts")
    features = Features({"tokens": List(Value("string")), "tags": List(ClassLabel(names=TAGS))})
    rows = {"tokens": [["Ann", "Lee", "sings"], ["rain"]], "tags": [[1, 2, 0], [0]]}
    Dataset.from_dict(rows, features).save_to_disk(HERE / "tagged", num_shards=2)


if __name__ == "__main__":
    main()
