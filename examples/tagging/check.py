"""Measures the example's model without thaw: transformers loads it and tags the test paragraphs, and seqeval's F1 must
be the one in result.json. Beside it: each word's most frequent tag of the training paragraphs.

    python check.py out
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path

import torch
from seqeval.metrics import f1_score
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

TABLE = Path(__file__).parent / "data" / "words.conll"
LONGEST = 96

Rows = list[tuple[list[str], list[str]]]
"""Words and tags of each paragraph."""


def split_rows(out: Path, split: str) -> Rows:
    """The paragraphs that the run had in a split: the store has their numbers in the table."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    blocks = TABLE.read_text(encoding="utf-8").strip().split("\n\n")
    lines = [[line.split("\t") for line in blocks[row].splitlines()] for row in store.table(split)["id"].to_pylist()]
    return [([word for word, _ in each], [tag for _, tag in each]) for each in lines]


def tagged(folder: Path, rows: Rows) -> list[list[str]]:
    """The tags that the exported model gives to each word, by its first token; a word that was cut off has none."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    found = []
    for words, _ in rows:
        inputs = tokenizer(words, is_split_into_words=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            best = model(**inputs).logits[0].argmax(dim=-1).tolist()
        first = {word: best[token] for token, word in reversed(list(enumerate(inputs.word_ids(0)))) if word is not None}
        found.append([model.config.id2label[first[word]] if word in first else "O" for word in range(len(words))])
    return found


def by_word(train: Rows, rows: Rows) -> list[list[str]]:
    """The tag that each word has most often."""
    counts: dict[str, Counter[str]] = {}
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    return [[counts[word].most_common(1)[0][0] if word in counts else "O" for word in words] for words, _ in rows]


def main(out: Path) -> int:
    """Prints both; the exit status is 1 if the model's is not what result.json says."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train, test = split_rows(out, "train"), split_rows(out, "test")
    true = [tags for _, tags in test]
    measured = f1_score(true, tagged(out / "model", test))
    reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]["f1"]
    same = math.isclose(measured, reported, abs_tol=2e-3)
    verdict = "as in result.json" if same else f"but result.json says {reported:.4f}"
    print(f"fine-tuned  {measured:.4f}  F1 on {len(test)} test paragraphs by transformers, {verdict}")
    print(f"by word     {f1_score(true, by_word(train, test)):.4f}  each word's most frequent tag of {len(train)}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
