"""Measures the example's model without thaw: transformers tags the test sentences, and the F1 must be the one in
result.json. Beside it, what one knows of words without reading sentences.

    python check.py out
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

import torch
from seqeval.metrics import classification_report, f1_score
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).resolve().parent
LONGEST, ROWS = 96, 32
SAME = 1e-9

Sentence = tuple[list[str], list[str]]
"""Words and their tags."""


def sentences(file: Path) -> list[Sentence]:
    """The sentences of a CoNLL file."""
    parts = (part.split("\n") for part in file.read_text(encoding="utf-8").strip().split("\n\n"))
    rows = ([line.split(" ") for line in part] for part in parts)
    return [([word for word, _ in row], [tag for _, tag in row]) for row in rows]


def tagged(folder: Path, found: list[Sentence]) -> list[list[str]]:
    """The tags that a model gives, by transformers alone: that of a word's first token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    every = []
    for start in range(0, len(found), ROWS):
        batch = [words for words, _ in found[start : start + ROWS]]
        inputs = tokenizer(
            batch, is_split_into_words=True, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        with torch.inference_mode():
            best = model(**inputs).logits.argmax(dim=-1).tolist()
        for row, words in enumerate(batch):
            tags = ["O"] * len(words)
            for token, word in reversed(list(enumerate(inputs.word_ids(row)))):
                if word is not None:
                    tags[word] = model.config.id2label[best[row][token]]
            every.append(tags)
    return every


def by_word(train: list[Sentence], found: list[Sentence]) -> list[list[str]]:
    """The tag that a word has most often in train; one that is not in train goes by how it is spelled."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in train:
        for word, tag in zip(words, tags, strict=True):
            counts[word.lower()][tag] += 1

    def tag_of(word: str) -> str:
        if word.lower() in counts:
            return counts[word.lower()].most_common(1)[0][0]
        if word.endswith(("Error", "Exception", "Warning")):
            return "B-EXCEPTION"
        return "B-FUNCTION" if "_" in word else "O"

    return [[tag_of(word) for word in words] for words, _ in found]


def main(outs: list[Path]) -> int:
    """Prints F1 of each model and of the rival; the exit status is 1 if a model's is not what result.json says."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrong = 0
    for out in outs:
        (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
        train, test = (
            [every[row] for row in store.table(split)["id"].to_pylist()]
            for split in ("train", "test")
            for every in [sentences(HERE / "data" / f"{split}.conll")]
        )
        true = [tags for _, tags in test]
        given = tagged(out / "model", test)
        measured = float(f1_score(true, given))
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]["f1"]
        same = abs(measured - reported) < SAME
        verdict = "as in result.json" if same else f"but result.json says {reported:.4f}"
        print(f"{out.name:<12} F1 {measured:.4f}  on {len(test)} sentences by transformers, {verdict}")
        rival = by_word(train, test)
        print(
            f"{'by word':<12} F1 {f1_score(true, rival):.4f}  its most frequent tag in the same {len(train)} sentences"
        )
        both = {out.name: given, "by word": rival}
        reports = {name: classification_report(true, tags, output_dict=True) for name, tags in both.items()}
        for kind in sorted(set(reports["by word"]) - {"micro avg", "macro avg", "weighted avg"}):
            scores = "  ".join(f"{name} {report[kind]['f1-score']:.4f}" for name, report in reports.items())
            print(f"  {kind.lower():<10} {scores}  of {reports['by word'][kind]['support']}")
        wrong += not same
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
