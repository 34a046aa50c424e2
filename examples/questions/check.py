"""Measures the example's model without thaw: transformers loads it, each head of a test context gets the score of its
span, and the best one is the answer. Beside it: the head whose parts of words are most like the question's, and chance.

    python check.py out

The model may choose any span when thaw measures it; here it has the eight heads to choose from, as its rivals have.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

QUESTIONS = Path(__file__).parent / "data" / "functions.json"
LONGEST = 192

Asked = tuple[str, list[str], str]
"""A question, the heads of its context, and the right one."""


def split_rows(out: Path, split: str) -> list[Asked]:
    """The questions that the run had in a split: the store has their numbers in the file."""
    (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
    paragraphs = json.loads(QUESTIONS.read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    chosen = [paragraphs[row] for row in store.table(f"{split}-questions")["id"].to_pylist()]
    return [
        (each["qas"][0]["question"], each["context"].split("; "), each["qas"][0]["answers"][0]["text"])
        for each in chosen
    ]


def by_model(folder: Path, rows: list[Asked]) -> list[str]:
    """The head whose first and last token have the best scores."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    chosen = []
    for question, heads, _ in rows:
        inputs: Any = tokenizer(
            question, "; ".join(heads), truncation="only_second", max_length=LONGEST, return_tensors="pt"
        )
        with torch.inference_mode():
            found = model(**inputs)
        scores, first = {}, 0
        for head in heads:
            ends = inputs.char_to_token(0, first, 1), inputs.char_to_token(0, first + len(head) - 1, 1)
            if None not in ends:
                scores[head] = float(found.start_logits[0, ends[0]] + found.end_logits[0, ends[1]])
            first += len(head) + 2
        chosen.append(max(scores, key=lambda head: scores[head]))
    return chosen


def by_likeness(train: list[Asked], rows: list[Asked]) -> list[str]:
    """The head that is most like the question, by parts of words."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True)
    vectors.fit([text for question, heads, _ in train for text in (question, *heads)])
    return [
        heads[int((vectors.transform(heads) @ vectors.transform([question]).T).toarray().argmax())]
        for question, heads, _ in rows
    ]


def main(out: Path) -> int:
    """Prints the shares of right answers; the exit status is 1 unless the model's is the best."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    train, test = split_rows(out, "train"), split_rows(out, "test")
    reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
    answers = {
        "fine-tuned": (by_model(out / "model", test), "of the eight, by transformers"),
        "likeness": (by_likeness(train, test), "of parts of words"),
    }
    shares = {
        name: sum(each == right for each, (_, _, right) in zip(found, test, strict=True)) / len(test)
        for name, (found, _) in answers.items()
    }
    print(f"any span    {reported['exactMatch']:.4f}  exactMatch of result.json on {len(test)} questions")
    for name, (_, explanation) in answers.items():
        print(f"{name:<11} {shares[name]:.4f}  {explanation}")
    print(f"chance      {sum(1 / len(heads) for _, heads, _ in test) / len(test):.4f}")
    return int(shares["fine-tuned"] <= shares["likeness"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
