"""Measures the example's models without thaw: transformers loads each and reads the test rows, and what it reaches must
be what result.json says. Beside it: bags of words on the same rows, and the baseline of result.json.

    python check.py
"""

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).resolve().parent
BATCH_ROWS = 64
TOLERANCE = 1e-3

Rows = list[dict[str, Any]]


def rows_of(table: str) -> Rows:
    """The rows of a table, by number."""
    file = HERE / "data" / table
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened)) if file.suffix == ".csv" else [json.loads(line) for line in opened]


def split_rows(out: Path, table: str) -> tuple[Rows, Rows]:
    """The training and the test rows of a run: the store has their numbers in the table."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    rows = rows_of(table)
    train, test = ([rows[row] for row in store.table(split)["id"].to_pylist()] for split in ("train", "test"))
    return train, test


def outputs(folder: Path, longest: int, *texts: list[str]) -> tuple[np.ndarray, dict[int, str]]:
    """What a model gives for texts or pairs of texts [rows, outputs], by transformers alone, and its outputs' names."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for start in range(0, len(texts[0]), BATCH_ROWS):
        part = (each[start : start + BATCH_ROWS] for each in texts)
        inputs = tokenizer(*part, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.inference_mode():
            found.append(model(**inputs).logits.numpy())
    return np.concatenate(found), model.config.id2label


def pairs(out: Path, train: Rows, test: Rows) -> tuple[float, float, str]:
    """Accuracy of the model, and of logistic regression on how alike both sides' parts of words are."""
    logits, names = outputs(out / "model", 64, [row["sentence"] for row in test], [row["head"] for row in test])
    mine = accuracy_score([row["belongs"] for row in test], [names[best] for best in logits.argmax(axis=1)])
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True)
    vectors.fit([row[side] for row in train for side in ("sentence", "head")])

    def likeness(rows: Rows) -> np.ndarray:
        sides = [vectors.transform([row[side] for row in rows]) for side in ("sentence", "head")]
        return np.asarray(sides[0].multiply(sides[1]).sum(axis=1))

    fitted = LogisticRegression(C=100).fit(likeness(train), [row["belongs"] for row in train])
    return mine, fitted.score(likeness(test), [row["belongs"] for row in test]), "likeness of parts of words"


def raises(out: Path, train: Rows, test: Rows) -> tuple[float, float, str]:
    """Micro F1 of the model, and of a logistic regression for each label on words and pairs of words."""
    logits, names = outputs(out / "model", 64, [row["docstring"] for row in test])
    labels = MultiLabelBinarizer(classes=list(names.values())).fit([])
    true = labels.transform([row["raises"] for row in test])
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    classifier = make_pipeline(words, OneVsRestClassifier(LogisticRegression(C=30, max_iter=1000)))
    classifier.fit([row["docstring"] for row in train], labels.transform([row["raises"] for row in train]))
    theirs = classifier.predict([row["docstring"] for row in test])
    micro = {"average": "micro"}
    return f1_score(true, logits > 0, **micro), f1_score(true, theirs, **micro), "TF-IDF with logistic regressions"


def numbers(out: Path, train: Rows, test: Rows) -> tuple[float, float, str]:
    """Root mean squared error of the model, and of a ridge regression on words and pairs of words."""
    predicted, _ = outputs(out / "model", 32, [row["name"] for row in test])
    true = [float(row["number"]) for row in test]
    ridge = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), Ridge(alpha=0.1))
    ridge.fit([row["name"] for row in train], [float(row["number"]) for row in train])
    theirs = ridge.predict([row["name"] for row in test])
    return (
        root_mean_squared_error(true, predicted[:, 0]),
        root_mean_squared_error(true, theirs),
        "TF-IDF with ridge regression",
    )


Measure = Callable[[Path, Rows, Rows], tuple[float, float, str]]
RUNS: dict[str, tuple[str, Measure]] = {
    "out-pairs": ("pairs.jsonl", pairs),
    "out-raises": ("raises.jsonl", raises),
    "out-numbers": ("numbers.csv", numbers),
}


def main() -> int:
    """Prints what each model and its rivals reach; the exit status is 1 if a model's is not what result.json says."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrong = 0
    for name, (table, measure) in RUNS.items():
        out = HERE / name
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        metric = result["objective"]["metric"]
        train, test = split_rows(out, table)
        mine, theirs, rival = measure(out, train, test)
        reported = result["test"][metric]
        same = math.isclose(mine, reported, rel_tol=TOLERANCE)
        verdict = "as in result.json" if same else f"but result.json says {reported:.4f}"
        print(f"{name:<12} {metric:<9} {mine:8.4f}  on {len(test)} test rows by transformers, {verdict}")
        print(f"{'':<22} {theirs:8.4f}  {rival}, on the same {len(train)} training rows")
        if "baseline" in result:
            print(f"{'':<22} {result['baseline']['test']:8.4f}  {result['baseline']['description']}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
