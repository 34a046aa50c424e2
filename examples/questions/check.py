"""Measures the example's model without thaw: transformers answers the test questions, and exact match and F1 must be
the ones in result.json. Beside it, on the same questions, rules that a person would write down in a few minutes.

    python check.py out
"""

import json
import re
import string
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from transformers.utils import logging

from thaw_trainer.data.store import PreparedStore

HERE = Path(__file__).resolve().parent
LONGEST, STRIDE, LONGEST_ANSWER = 128, 32, 30
ROWS = 32
SAME = 1e-9
KINDS = {
    "exception": r"Which exception does (\S+) raise\?",
    "optional": r"Which parameter of (\S+) may be left out\?",
    "required": r"Which parameter of (\S+) must be given\?",
    "purpose": r"What does (\S+) do\?",
}
RAISED = re.compile(r"[A-Z]\w+(?:Error|Exception|Warning|Interrupt)\b|Stop\w*Iteration\b")


@dataclass(frozen=True)
class Question:
    """A question, its context and its answers."""

    question: str
    context: str
    answers: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Which of the templates it is."""
        return next(kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, self.question))

    @property
    def line(self) -> str:
        """The prose of the function that is asked about."""
        name = re.fullmatch(KINDS[self.kind], self.question)[1]
        return next(line for line in self.context.split("\n") if line.startswith(f"{name}: ")).removeprefix(f"{name}: ")


def questions(file: Path) -> list[Question]:
    """The questions of a file, in its order."""
    return [
        Question(each["question"], part["context"], tuple(answer["text"] for answer in each["answers"]))
        for title in json.loads(file.read_text(encoding="utf-8"))["data"]
        for part in title["paragraphs"]
        for each in part["qas"]
    ]


def answered(folder: Path, asked: list[Question], longest: int) -> list[str]:
    """A model's answers, by transformers alone: the best span of all windows, or none where each prefers that."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    told = []
    for start in range(0, len(asked), ROWS):
        part = asked[start : start + ROWS]
        encoded = tokenizer(
            [each.question for each in part],
            [each.context for each in part],
            truncation="only_second",
            max_length=LONGEST,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding=True,
            return_tensors="pt",
        )
        inputs = {name: encoded[name] for name in tokenizer.model_input_names}
        with torch.inference_mode():
            found = model(**inputs)
        best: dict[int, tuple[float, str]] = {}
        none: dict[int, float] = {}
        for window, row in enumerate(encoded["overflow_to_sample_mapping"].tolist()):
            first, last = found.start_logits[window], found.end_logits[window]
            none[row] = min(none.get(row, float("inf")), float(first[0] + last[0]))
            inside = torch.tensor([sequence == 1 for sequence in encoded.sequence_ids(window)])
            pairs = first[:, None] + last[None, :]
            spans = (inside[:, None] & inside[None, :]).triu().tril(longest - 1)
            score, place = pairs.masked_fill(~spans, -1e9).flatten().max(dim=0)
            if row not in best or score > best[row][0]:
                places = encoded["offset_mapping"][window].tolist()
                one, other = divmod(int(place), len(last))
                best[row] = float(score), part[row].context[places[one][0] : places[other][1]]
        told += ["" if none[row] > best[row][0] else best[row][1] for row in range(len(part))]
    return told


def words(text: str) -> list[str]:
    """As SQuAD compares answers: without case, punctuation and articles."""
    return re.sub(
        r"\b(a|an|the)\b", " ", "".join(each for each in text.lower() if each not in string.punctuation)
    ).split()


def overlap(one: list[str], other: list[str]) -> float:
    """F1 of words."""
    if not one or not other:
        return float(one == other)
    return 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


def scores(told: list[str], asked: list[Question]) -> tuple[float, float]:
    """Exact match and F1, each against the best of the right answers."""
    pairs = [
        (words(one), [words(other) for other in each.answers or ("",)]) for one, each in zip(told, asked, strict=True)
    ]
    exact = sum(one in others for one, others in pairs) / len(pairs)
    return exact, sum(max(overlap(one, other) for other in others) for one, others in pairs) / len(pairs)


def by_rule(train: list[Question], asked: list[Question]) -> list[str]:
    """The first sentence; the first word that looks like an exception; of the words that are known as parameters of the
    kind that is asked for, the one that was the answer most often when it was there. All of the function's own line."""
    there: dict[str, Counter[str]] = defaultdict(Counter)
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for each in train:
        there[each.kind].update(set(re.findall(r"\w+", each.line)))
        right[each.kind].update(set(each.answers))
    told = []
    for each in asked:
        if each.kind == "purpose":
            told.append(re.split(r"(?<=[.!?])\s", each.line)[0])
        elif each.kind == "exception":
            told.append(found[0] if (found := RAISED.search(each.line)) else "")
        else:
            share = {
                word: right[each.kind][word] / there[each.kind][word]
                for word in re.findall(r"\w+", each.line)
                if right[each.kind][word]
            }
            word = max(share, key=share.__getitem__, default="")
            told.append(word if share.get(word, 0) >= 0.5 else "")
    return told


def main(outs: list[Path]) -> int:
    """Prints scores; the exit status is 1 if a model's are not what result.json says."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    wrong = 0
    train, test = (questions(HERE / "data" / f"{split}.json") for split in ("train", "test"))
    print(f"{len(test)} test questions    exact      F1")
    rivals = {"always no answer": [""] * len(test), "rules": by_rule(train, test)}
    for name, told in rivals.items():
        print("{:<20} {:8.4f} {:8.4f}".format(name, *scores(told, test)))
    for out in outs:
        (store,) = (PreparedStore(facts.parent) for facts in out.glob("prepared/*/facts.json"))
        kept = [test[row] for row in store.table("test-questions")["id"].to_pylist()]
        told = answered(out / "model", kept, max(LONGEST_ANSWER, store.facts["longestAnswer"]))
        exact, f1 = scores(told, kept)
        reported = json.loads((out / "result.json").read_text(encoding="utf-8"))["test"]
        same = abs(exact - reported["exactMatch"]) < SAME and abs(f1 - reported["f1"]) < SAME
        verdict = (
            "as in result.json" if same else f"but result.json says {reported['exactMatch']:.4f} {reported['f1']:.4f}"
        )
        print(f"{out.name:<20} {exact:8.4f} {f1:8.4f}  by transformers, {verdict}")
        rivals[out.name] = told if len(kept) == len(test) else []
        wrong += not same
    for kind in KINDS:
        for is_answered in (True, False):
            rows = [row for row, each in enumerate(test) if each.kind == kind and bool(each.answers) == is_answered]
            if rows:
                parts = (
                    f"{name} {scores([told[row] for row in rows], [test[row] for row in rows])[1]:.4f}"
                    for name, told in rivals.items()
                    if told
                )
                title = kind if is_answered else f"{kind}, no answer"
                print(f"  {title:<21} F1: {', '.join(parts)}; {len(rows)} questions")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
