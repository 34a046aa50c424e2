"""Measures the quickstart's model without thaw: transformers loads it and classifies the test rows, and its accuracy
must be the one in result.json, to the last digit. Beside it: TF-IDF with logistic regression, and the most frequent
class, on the same rows.

    python check.py out
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from thaw_trainer.data.store import PreparedStore

TABLE = Path(__file__).parent / "data" / "sections.csv"
BATCH_ROWS = 64
LONGEST = 512

Rows = tuple[list[str], list[str]]
"""Texts and their labels."""


def split_rows(store: PreparedStore, split: str) -> Rows:
    """The rows that the run had in a split: the store has their numbers in the table, and their labels."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        texts = [row["summary"] for row in csv.DictReader(file)]
    table, names = store.table(split), store.facts["labels"]
    return [texts[row] for row in table["id"].to_pylist()], [names[label] for label in table["label"].to_pylist()]


def store_of(out: Path, fingerprint: str) -> PreparedStore:
    """The prepared store that the run used."""
    stores = [PreparedStore(facts.parent) for facts in sorted(out.glob("prepared/*/facts.json"))]
    return next(store for store in stores if store.facts["fingerprint"] == fingerprint)


def classify(folder: Path, texts: list[str]) -> list[str]:
    """The labels that the exported model gives, by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    labels: list[str] = []
    for start in range(0, len(texts), BATCH_ROWS):
        batch = texts[start : start + BATCH_ROWS]
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            chosen = model(**inputs).logits.argmax(dim=-1)  # [rows]
        labels += [model.config.id2label[index] for index in chosen.tolist()]
    return labels


def bag_of_words(train: Rows, texts: list[str]) -> list[str]:
    """The labels that logistic regression gives from words and pairs of words; usual settings, not tuned."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    classifier = make_pipeline(vectors, LogisticRegression(C=10, max_iter=1000)).fit(*train)
    return list(classifier.predict(texts))


def accuracy(predicted: list[str], labels: list[str]) -> float:
    """The share of rows that got their label."""
    return sum(mine == right for mine, right in zip(predicted, labels, strict=True)) / len(labels)


def main(out: Path) -> int:
    """Prints the three accuracies; the exit status is 1 if the model's is not what result.json says."""
    transformers_logging.disable_progress_bar()
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    store = store_of(out, result["data"]["fingerprint"])
    train, (texts, labels) = split_rows(store, "train"), split_rows(store, "test")
    measured, reported = accuracy(classify(out / "model", texts), labels), result["test"]["accuracy"]
    verdict = "as in result.json" if measured == reported else f"but result.json says {reported!r}"
    common = Counter(train[1]).most_common(1)[0][0]
    lines = [
        ("fine-tuned", measured, f"{measured!r} on {len(labels)} test rows by transformers, {verdict}"),
        (
            "TF-IDF",
            accuracy(bag_of_words(train, texts), labels),
            f"with logistic regression, same {len(train[0])} rows",
        ),
        ("guess", accuracy([common] * len(labels), labels), f"the most frequent class of train, {common!r}, for all"),
    ]
    for name, value, explanation in lines:
        print(f"{name:<11} {value:.4f}  {explanation}")
    return int(measured != reported)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
